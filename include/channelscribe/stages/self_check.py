"""Does an installation work? Every model of a profile is loaded and does a little real work, each in its own process.

So one that dies takes no other with it, and each pays for its imports itself. Nothing is written but to the folder
for temporary files, and no network is used.

``python -m channelscribe.stages.self_check STAGE --profile NAME [--device cpu|cuda]`` checks one stage.
"""

import argparse
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Span
from channelscribe.errors import ChannelscribeError, ExitCode, MisconfiguredError
from channelscribe.models import ENGINES, PACKAGES
from channelscribe.profiles import Profile, StageSpec, get_profile
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine

_TIMEOUT_S = 600
_NOISE_S = 0.5


def check_profile(profile: Profile, device: str | None, say: Callable[[str], None]) -> list[str]:
    """Check every stage of a profile that has a model, each in a process of its own.

    Args:
        profile: the profile.
        device: ``cpu`` or ``cuda`` for all stages; None for that of the profile.
        say: is given one line per stage that works.

    Returns:
        A sentence per stage that does not.

    Raises:
        MisconfiguredError: this is not the stages' environment.
    """
    if importlib.util.find_spec("torch") is None:
        raise MisconfiguredError(
            f"The self-check needs the stages' environment, and {sys.prefix} has no torch: "
            "call the `channelscribe` of that environment, or of the stages' image."
        )
    faults = []
    for stage, spec in profile.stages.items():
        if spec.engine in ENGINES:
            done = _run(stage, profile, device)
            if isinstance(done, str):
                faults.append(done)
            else:
                say(done.stdout.strip())
    return faults


def check_stage(stage: str, spec: StageSpec, device: str) -> str:
    """Load the engine of a stage and have it do a little work, in this process.

    Returns:
        One line: model, device, seconds, versions.

    Raises:
        ChannelscribeError: it can't be loaded, or gave something wrong.
    """
    clock = Clock()
    engine = load_engine(spec, device, clock)
    with clock.part("work"):
        _WORK[stage](engine)
    seconds = ", ".join(f"{part} {clock.seconds[part]:.1f} s" for part in ("import", "load", "work"))
    versions = ", ".join(f"{package} {_version(package)}" for package in PACKAGES[spec.engine])
    return f"{stage}: {spec.model} ({spec.revision}) on {engine.device}: {seconds}; {versions}"


def main() -> int:
    """Check one stage as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=list(_WORK))
    parser.add_argument("--profile", required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    options = parser.parse_args()
    try:
        spec = get_profile(options.profile).stages[options.stage]
        line = check_stage(options.stage, spec, options.device or spec.device)
    except ChannelscribeError as error:
        sys.stderr.write(f"{error}\n")
        return int(ExitCode.MISCONFIGURED)
    sys.stdout.write(f"{line}\n")
    return 0


def _run(stage: str, profile: Profile, device: str | None) -> subprocess.CompletedProcess[str] | str:
    """The ended check of one stage, or a sentence about why it failed."""
    command = [sys.executable, "-m", __name__, stage, "--profile", profile.name]
    try:
        done = subprocess.run(
            [*command, "--device", device] if device else command,
            capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{stage}: no end after {_TIMEOUT_S} s."
    if done.returncode == 0:
        return done
    if done.returncode < 0:
        return f"{stage}: killed by {signal.Signals(-done.returncode).name}: does the processor suit the libraries?"
    printed = done.stderr.strip().splitlines()
    return f"{stage}: {printed[-1] if printed else f'exit code {done.returncode}'}"


def _noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(scale=0.05, size=int(_NOISE_S * SAMPLE_RATE_HZ)).astype(np.float32)


def _diarize(engine: Any) -> None:
    turns, _, rttm = engine.diarize(_noise(), "noise")
    _expect(len(rttm.splitlines()) == len(turns), "diarization gave other turns than its RTTM has")


def _transcribe(engine: Any) -> None:
    heard = engine.transcribe(_noise(), [Span(start_s=0.0, end_s=_NOISE_S)])
    _expect(len(heard.regions) == 1, "recognition gave no answer for its region")


def _embed_voice(engine: Any) -> None:
    _expect_unit_rows(engine.embed([engine.features(_noise())]))


def _embed_text(engine: Any) -> None:
    texts = ["The doctor cured her illness.", "The train was late again."]
    _expect(min(engine.count_tokens(texts)) > 0, "the tokenizer found no token in a sentence")
    embeddings = engine.embed(texts)
    _expect_unit_rows(embeddings[:1])
    similarity = embeddings @ engine.embed_query("Who treats sick people?")
    _expect(similarity[0] > similarity[1], "a question is nearer to a text that does not answer it")


def _expect_unit_rows(embeddings: NDArray[np.float32]) -> None:
    norms = np.linalg.norm(embeddings, axis=1)
    _expect(len(norms) == 1 and abs(float(norms[0]) - 1.0) < 1e-3, "the embedding is not a unit vector")


def _expect(is_so: bool, fault: str) -> None:
    if not is_so:
        raise MisconfiguredError(f"{fault}: install the pinned versions anew.")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


_WORK: Mapping[str, Callable[[Any], None]] = MappingProxyType(
    {"diarize": _diarize, "transcribe": _transcribe, "identify_speakers": _embed_voice, "embed_text": _embed_text}
)


if __name__ == "__main__":
    sys.exit(main())
