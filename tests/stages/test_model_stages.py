"""The four model stages over audio that nobody speaks in, as programs call them: one batch, real models."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.contracts import Audio, Chunks, Diarization, SpeakerAnalysis, Transcript, Video
from channelscribe.errors import ExitCode
from channelscribe.profiles import BUNDLED
from channelscribe.stages.diarize import Diarize
from channelscribe.stages.embed_text import EmbedText
from channelscribe.stages.identify_speakers import IdentifySpeakers
from channelscribe.stages.runner import Job, Outcome, Run, Stage
from channelscribe.stages.transcribe import Transcribe
from channelscribe.workspace import Workspace

pytestmark = pytest.mark.stages

RATE_HZ = 8000


class Recorded(Stage[None]):
    """In the place of the download: audio made here."""

    name = "fetch_audio"

    def __init__(self, samples: dict[str, NDArray[np.float64]]) -> None:
        self.samples = samples

    def process(self, job: Job, engine: None) -> Outcome:
        samples = self.samples[job.video.video_id]
        with wave.open(str(job.out / "audio.wav"), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        duration_s = len(samples) / RATE_HZ
        audio = Audio(
            file_name="audio.wav", codec="pcm_s16le", sample_rate_hz=RATE_HZ, n_channels=1, duration_s=duration_s
        )
        (job.out / "audio.json").write_text(audio.model_dump_json())
        return Outcome(audio_s=duration_s, summary="Recorded.")


def record(workspace: Workspace, video_id: str) -> None:
    workspace.write_video(
        Video(
            video_id=video_id,
            source_id=video_id,
            url="http://channel.example/x",
            title=video_id,
            channel_url="http://channel.example/",
            channel_title="made",
        )
    )


def test_recordings_without_speech_succeed_with_no_utterances(tmp_path: Path) -> None:
    seconds = np.arange(12 * RATE_HZ) / RATE_HZ
    samples = {
        "made-silence": np.zeros(12 * RATE_HZ),
        "made-blip": np.zeros(RATE_HZ // 50),
        "made-tone": 0.3 * np.sin(2 * np.pi * 440 * seconds),
    }
    workspace = Workspace(tmp_path)
    for video_id in samples:
        record(workspace, video_id)
    stages = [Recorded(samples), Diarize(), Transcribe(), IdentifySpeakers(), EmbedText()]
    codes = [Run(stage, BUNDLED, workspace)(list(samples)) for stage in stages]
    assert codes == [ExitCode.DONE, ExitCode.DONE, ExitCode.DONE, ExitCode.NOTHING_TO_DO, ExitCode.NOTHING_TO_DO]
    for video_id in samples:
        diarization = workspace.require(video_id, "diarize", BUNDLED).read("diarization.json", Diarization)
        transcript = workspace.require(video_id, "transcribe", BUNDLED).read("transcript.json", Transcript)
        analysis = workspace.require(video_id, "identify_speakers", BUNDLED)
        chunks = workspace.require(video_id, "embed_text", BUNDLED)
        assert (diarization.turns, transcript.segments, transcript.coverage) == ((), (), None)
        assert analysis.manifest.empty and chunks.manifest.empty
        assert analysis.read("analysis.json", SpeakerAnalysis).utterances == ()
        assert chunks.read("chunks.json", Chunks).chunks == ()
        assert workspace.read_status(video_id, "embed_text").state == "empty"
    # The same again: found, and still nothing to do.
    assert Run(EmbedText(), BUNDLED, workspace)(list(samples)) == ExitCode.NOTHING_TO_DO


@pytest.mark.parametrize(("others", "code", "words"), [([], 0, "Nobody speaks"), ([".."], 65, "is not a video id")])
def test_a_program_ends_with_its_code_and_its_last_line_once_a_model_is_loaded(
    tmp_path: Path, others: list[str], code: int, words: str
) -> None:
    workspace = Workspace(tmp_path)
    record(workspace, "made-silence")
    Run(Recorded({"made-silence": np.zeros(2 * RATE_HZ)}), BUNDLED, workspace)(["made-silence"])
    command = [sys.executable, "-m", "channelscribe.stages.diarize", "made-silence", *others]
    command += ["--data-root", str(tmp_path), "--profile", "bundled"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    assert words in done.stdout.splitlines()[-1]
    assert (tmp_path / "videos" / "made-silence" / "diarize" / "status.json").is_file()
    # No bar, no escape, and nothing that a terminal alone would show.
    assert "\r" not in done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr
    assert workspace.require("made-silence", "diarize", BUNDLED).manifest.device_used == "cpu"
