"""The commands that run the embedded stack."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from channelscribe.channels.source import normalise_channel
from channelscribe.errors import ChannelscribeError, ExitCode, MisconfiguredError
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings, get_settings
from channelscribe.stack.airflow_api import AirflowApi
from channelscribe.stack.demo_channel import RECORDINGS, feed_url
from channelscribe.stack.embedded import COMPONENTS, DAG_ID, EMBEDDER, Stack, is_orphaned
from channelscribe.stack.environment import USER, base_url, read_secrets
from channelscribe.stack.payoff import print_outcome, print_payoff
from channelscribe.stack.watch import RunResult, RunView, watch
from channelscribe.workspace import Workspace

app = typer.Typer()

# A paraphrase on purpose: words alone would not find "the spring of hope".
DEMO_QUERY = "a season of optimism"

_console = Console()


class _Stopped(Exception):  # noqa: N818
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@app.command(epilog="Example: `channelscribe demo`")
def demo() -> None:
    """Run the main job on a demo channel, and show what comes of it.

    With a terminal everything keeps running until Ctrl-C; without one everything is stopped, and the exit code is
    the run's.
    """
    settings = get_settings()
    stack = Stack(settings)
    with _signals():
        was_up = stack.is_up
        try:
            code = _demo(settings, stack, was_up=was_up)
        except _Stopped as stopped:
            code = 128 + stopped.number
        finally:
            if not was_up:
                _stop(stack)
    raise typer.Exit(code)


@app.command(epilog="Example: `channelscribe up`")
def up() -> None:
    """Start Postgres and Airflow in the background."""
    settings = get_settings()
    stack = Stack(settings)
    _bring_up(settings, stack)
    _say_where(settings, stack)
    _console.print("Stop it with `make down`.")


@app.command(epilog="Example: `channelscribe down`")
def down() -> None:
    """Stop everything that runs, that of a killed demo too."""
    stack = Stack(get_settings())
    if not stack.home.is_dir():
        _console.print("Nothing runs.")
        return
    with stack.lock():
        count = stack.stop()
    _console.print(f"Stopped {count} processes and Postgres." if count else "Nothing runs.")


@app.command(epilog="Example: `channelscribe status`")
def status() -> None:
    """Say what runs and where. The exit code is 0 if everything does, else 1."""
    settings = get_settings()
    stack = Stack(settings)
    record, dead = stack.record, stack.dead()
    _console.print(f"Postgres: {'up' if stack.postgres.is_running else 'down'}")
    for name in record.pids if record else (*COMPONENTS, EMBEDDER):
        state = f"up (process {record.pids[name]})" if record and name not in dead else "down"
        _console.print(f"{name}: {state}", highlight=False)
    if not stack.is_up:
        if record and is_orphaned(record):
            _say("The demo that started this was killed: `make demo` goes on, `make down` stops what is left.")
        else:
            _say("Start it with `make up`.")
        raise typer.Exit(1)
    if EMBEDDER in dead:
        _say(f"The embedder ended: {stack.last_words(EMBEDDER)} Without it searches are slow; `make up` starts it.")
    with stack.api() as api:
        for part in api.unhealthy():
            _console.print(f"{part} is not well: see {stack.logs}.", highlight=False)
        for run in api.unfinished_runs(DAG_ID):
            _console.print(f"Run {run['dag_run_id']} is {run['state']}.", highlight=False)
    _say_where(settings, stack)


@app.command(epilog="Example: `channelscribe ingest https://www.youtube.com/@handle --limit 5`")
def ingest(
    channel: Annotated[
        str, typer.Argument(help="URL of a channel, playlist, feed or video, or an @handle or id of YouTube.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, max=1000, help="New videos to take; the newest.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile that names the models.")] = None,
) -> None:
    """Ingest a channel's newest videos now. The stack is started if need be, and stays up."""
    settings = get_settings()
    conf: dict[str, object] = {"channels": [normalise_channel(channel)]}
    if limit:
        conf["limit"] = limit
    if profile:
        conf["profile"] = get_profile(profile).name
    stack = Stack(settings)
    _bring_up(settings, stack)
    try:
        with stack.api() as api:
            if running := api.unfinished_runs(DAG_ID):
                raise MisconfiguredError(
                    f"Run {running[0]['dag_run_id']} is still going, and runs go one at a time: wait for its end "
                    "(`make status`), or stop it in Airflow's UI."
                )
            result = _run(stack, settings, conf)
    except KeyboardInterrupt:
        _console.print("The run goes on in the background: `make status`; `make down` stops it.")
        raise typer.Exit(130) from None
    print_outcome(_console, result)
    if result.video_ids:
        print_payoff(_console, settings, result.video_ids, None)
    _say_where(settings, stack)
    raise typer.Exit(_code_of(result))


def _demo(settings: Settings, stack: Stack, *, was_up: bool) -> int:
    started = time.monotonic()
    url = feed_url(settings)
    with stack.lock():
        if was_up:
            _refuse_second_demo(stack)
            stack.start_embedder(_say)
        else:
            stack.start(_say, ",".join(settings.channels) or url, owned=True)
        stack.start_demo_channel()
    _say(f"Ready after {time.monotonic() - started:.0f} s.")
    # More than its videos: a limit of the user's own must not cut the demo short.
    conf: dict[str, object] = {"channels": [url], "limit": len(RECORDINGS)}
    result = _finish_leftover(stack, settings, conf) or _run(stack, settings, conf)
    print_outcome(_console, result)
    print_payoff(_console, settings, result.video_ids or None, DEMO_QUERY)
    _say_where(settings, stack)
    if was_up:
        _console.print("The stack was up before, and stays up: `make down` stops it.")
    elif sys.stdin.isatty() and sys.stdout.isatty():
        _console.print("Ctrl-C stops everything.")
        while True:
            _require_alive(stack)
            time.sleep(1)
    return _code_of(result)


def _run(stack: Stack, settings: Settings, conf: dict[str, object]) -> RunResult:
    """Trigger a run and show its progress until it ends."""
    with stack.api() as api:
        api.unpause(DAG_ID)
        return _watch(stack, settings, api, api.trigger(DAG_ID, conf))


def _finish_leftover(stack: Stack, settings: Settings, conf: dict[str, object]) -> RunResult | None:
    """Watch the run on that a killed demo left, if there is one.

    Returns:
        How it ended, if it did what is asked for now.
    """
    with stack.api() as api:
        result = None
        for run in api.unfinished_runs(DAG_ID):
            run_id = str(run["dag_run_id"])
            _say(f"Run {run_id} was not finished: it goes on.")
            api.unpause(DAG_ID)
            result = _watch(stack, settings, api, run_id)
            if result.state != "success" or run["conf"] != conf:
                result = None
        return result


def _watch(stack: Stack, settings: Settings, api: AirflowApi, run_id: str) -> RunResult:
    view = RunView(api, Workspace(settings.data_dir), DAG_ID, run_id)
    return watch(view, _console, lambda: _require_alive(stack))


def _bring_up(settings: Settings, stack: Stack) -> None:
    with stack.lock(), _signals():
        if stack.is_up:
            stack.sync_channels(_say)
            stack.start_embedder(_say)
        else:
            try:
                stack.start(_say, ",".join(settings.channels), owned=False)
            except BaseException as error:
                stack.stop()
                if isinstance(error, _Stopped):
                    raise typer.Exit(128 + error.number) from None
                raise


def _refuse_second_demo(stack: Stack) -> None:
    record = stack.record
    if record and record.owner is not None:
        raise MisconfiguredError(
            f"A demo runs already (process {record.owner}): stop it by Ctrl-C there, or by `make down`."
        )


def _require_alive(stack: Stack) -> None:
    if stack.record is None:
        raise MisconfiguredError("The stack was stopped from elsewhere.")
    for name in stack.missing():
        raise ChannelscribeError(f"{name} ended: {stack.last_words(name)} See {stack.logs / name}.log.")


def _stop(stack: Stack) -> None:
    # A second signal must not leave half of it running.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _say("Stopping everything.")
    with stack.lock():
        stack.stop()


def _say(text: str) -> None:
    _console.print(text, highlight=False, soft_wrap=True)


def _say_where(settings: Settings, stack: Stack) -> None:
    record = stack.record
    port = record.port if record else settings.port
    url = base_url(settings.model_copy(update={"port": port}))
    password = read_secrets(settings.home).password
    _console.print()
    _console.print(
        Text.assemble("Airflow's UI: ", (url, "bold"), f"  user {USER}, password {password}"), soft_wrap=True
    )


def _code_of(result: RunResult) -> int:
    return int(ExitCode.DONE) if result.state == "success" else 1


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the signals that ask for an end into an exception, so that everything is stopped on the way out."""

    def stop(number: int, _: FrameType | None) -> None:
        raise _Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
