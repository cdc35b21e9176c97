"""What a run was for: who said what and when, the answer to a search, and where the time went."""

from collections.abc import Collection
from contextlib import closing

from rich.console import Console
from rich.table import Table
from rich.text import Text

from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings
from channelscribe.stack.watch import RunResult
from channelscribe.store.connection import Connection, archive_dsn, connect
from channelscribe.store.queries import time_by_stage, videos_with_first_utterances
from channelscribe.store.search.hybrid import search
from channelscribe.store.search.presentation import print_hits
from channelscribe.store.search.query_embedding import embed_query
from channelscribe.wording import clock

N_UTTERANCES = 4
N_HITS = 3


def print_outcome(console: Console, result: RunResult) -> None:
    """How the run ended, and what failed with its reason."""
    if result.failures:
        for failure in result.failures:
            console.print(Text.assemble(("Failed: ", "bold red"), f"{failure.what} ({failure.task}): {failure.reason}"),
                          soft_wrap=True)  # fmt: skip
    elif result.state != "success":
        console.print(Text("The run failed: see it in Airflow's UI.", style="bold red"))
    elif not result.video_ids:
        console.print("No new video: the archive has all of them, and no work was done twice.")


def print_payoff(console: Console, settings: Settings, video_ids: Collection[str] | None, query: str | None) -> None:
    """Print what the archive has of the videos.

    Args:
        console: where to.
        settings: where the archive is.
        video_ids: the videos; all of the archive if None.
        query: what to search for, or None for no search.
    """
    with closing(connect(archive_dsn(settings))) as connection:
        _print_videos(console, connection, video_ids)
        if query:
            _print_search(console, connection, settings, query)
        _print_times(console, connection, video_ids)


def _print_videos(console: Console, connection: Connection, video_ids: Collection[str] | None) -> None:
    videos = videos_with_first_utterances(connection, video_ids, n_utterances=N_UTTERANCES)
    if videos:
        _title(console, "Who said what, and when")
    for video in videos:
        voices = f"{len(video.speakers)} speaker{'' if len(video.speakers) == 1 else 's'}"
        console.print(Text.assemble((video.title, "bold"), f"  ({clock(video.audio_s)}, {voices})"))
        table = Table(box=None, show_header=False, pad_edge=False)
        for said in video.first_utterances:
            table.add_row(Text(clock(said.start_s), style="cyan"), Text(said.speaker, style="green"), Text(said.text))
        if more := video.n_utterances - len(video.first_utterances):
            table.add_row("", "", Text(f"... and {more} more", style="dim"))
        if not video.n_utterances:
            table.add_row("", "", Text("nobody speaks", style="dim"))
        console.print(table)


def _print_search(console: Console, connection: Connection, settings: Settings, query: str) -> None:
    _title(console, f'bin/channelscribe search "{query}"')
    spec = get_profile(settings.profile).stages["embed_text"]
    try:
        embedding = embed_query(query, settings.profile, settings, lambda text: console.print(Text(text, style="dim")))
    except ChannelscribeError as error:
        console.print(Text(f"By words alone, not by meaning: {error}", style="yellow"))
        embedding = None
    print_hits(console, search(connection, query, embedding, (spec.model, spec.revision), limit=N_HITS))


def _print_times(console: Console, connection: Connection, video_ids: Collection[str] | None) -> None:
    times = time_by_stage(connection, video_ids)
    if not times:
        return
    _title(console, "Time by stage (start of the programs and loading of the models included)")
    table = Table("stage", box=None, pad_edge=False, header_style="dim")
    for column in ("videos", "audio", "time", "RTFx"):
        table.add_column(column, justify="right")
    for time in times:
        rtfx = f"{time.rtfx:.1f}" if time.rtfx else ""
        table.add_row(time.stage, str(time.n_videos), f"{time.audio_s:.1f} s", f"{time.processing_s:.1f} s", rtfx)
    audio_s = max(time.audio_s for time in times)
    total_s = sum(time.processing_s for time in times)
    table.add_row("all", "", f"{audio_s:.1f} s", f"{total_s:.1f} s", f"{audio_s / total_s:.1f}", style="bold")
    console.print(table)
    console.print(Text("RTFx: seconds of audio by seconds of work, as a ratio of sums.", style="dim"))


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold underline"))
