"""Real speech for the benchmarks: the recordings that come inside the models' packages, as fetched audio."""

import importlib.util
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Audio, Video
from channelscribe.errors import ExitCode
from channelscribe.profiles import Profile
from channelscribe.stages.runner import Job, Outcome, Run, Stage
from channelscribe.workspace import Workspace

# 10 s of one voice, 44 s of another, 30 s of two on the telephone.
FILES = (
    ("moonshine_voice", "assets/beckett.wav"),
    ("moonshine_voice", "assets/two_cities.wav"),
    ("pyannote.audio", "sample/sample.wav"),
)


class Recorded(Stage[None]):
    """In the place of the download: audio that is there."""

    name = "fetch_audio"

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples

    def process(self, job: Job, engine: None) -> Outcome:
        """Write the audio as `fetch_audio` would."""
        with wave.open(str(job.out / "audio.wav"), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
            file.writeframes(np.rint(self.samples * 32768).clip(-32768, 32767).astype("<i2").tobytes())
        duration_s = len(self.samples) / SAMPLE_RATE_HZ
        audio = Audio(
            file_name="audio.wav",
            codec="pcm_s16le",
            sample_rate_hz=SAMPLE_RATE_HZ,
            n_channels=1,
            duration_s=duration_s,
        )
        (job.out / "audio.json").write_text(audio.model_dump_json(), encoding="utf-8")
        return Outcome(audio_s=duration_s, summary="Recorded.")


def recording(minutes: float | None) -> NDArray[np.float32]:
    """(n_samples,) float32 at 16 kHz: all recordings, one after the other, until there is enough; None: the first."""
    waveforms = [decode(path_of(package, file)) for package, file in FILES]
    if minutes is None:
        return waveforms[0]
    return np.resize(np.concatenate(waveforms), int(minutes * 60 * SAMPLE_RATE_HZ))


def add_video(workspace: Workspace, profile: Profile, video_id: str, samples: NDArray[np.float32]) -> None:
    """Put a recording into a workspace, as if it had been fetched."""
    workspace.write_video(
        Video(
            video_id=video_id,
            source_id=video_id,
            url="http://benchmark.example/" + video_id,
            title="Recordings of the models' packages",
            channel_url="http://benchmark.example/",
            channel_title="Benchmark",
        )
    )
    if Run(Recorded(samples), profile, workspace)([video_id]) is not ExitCode.DONE:
        raise SystemExit("The recording could not be written.")


def path_of(package: str, file: str) -> Path:
    """A file inside an installed package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: run this in the stages' environment.")
    return Path(found.origin).parent / file
