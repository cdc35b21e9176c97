"""The four model stages over audio that nobody speaks in, as programs call them: one batch, real models."""

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


def test_recordings_without_speech_succeed_with_no_utterances(tmp_path: Path) -> None:
    seconds = np.arange(12 * RATE_HZ) / RATE_HZ
    samples = {
        "made-silence": np.zeros(12 * RATE_HZ),
        "made-blip": np.zeros(RATE_HZ // 50),
        "made-tone": 0.3 * np.sin(2 * np.pi * 440 * seconds),
    }
    workspace = Workspace(tmp_path)
    for video_id in samples:
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
