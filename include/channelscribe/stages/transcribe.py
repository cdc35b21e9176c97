"""Stage ``transcribe``: what is said, in words with times. Writes ``transcript.json``."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from channelscribe.audio import decode
from channelscribe.contracts import Audio, Diarization, Span, Transcript, Turn
from channelscribe.models import Recogniser
from channelscribe.speakers.regions import packed_regions, padded_spans, speech_regions
from channelscribe.stages.runner import Job, Outcome, Stage, main
from channelscribe.stages.text_checks import CheckedRegion, check_region, in_order

logger = logging.getLogger(__name__)


class Transcribe(Stage[Recogniser]):
    """Speech recognition of the speech that diarization found, and of nothing else."""

    name = "transcribe"

    def process(self, job: Job, engine: Recogniser) -> Outcome:
        """Write the segments with their words, why some may be wrong, and how much of the speech got text."""
        audio = job.inputs["fetch_audio"].read("audio.json", Audio)
        diarization = job.inputs["diarize"].read("diarization.json", Diarization)
        parameters = {name: float(value) for name, value in job.spec.parameters.items() if name != "language"}
        with job.clock.part("decode"):
            waveform = decode(job.inputs["fetch_audio"].folder / audio.file_name)
        regions, spans = _regions(diarization.exclusive_turns, waveform, engine, parameters, audio.duration_s)
        with job.clock.part("recognition"):
            recognition = engine.transcribe(waveform, spans, job.video.language)
        language = recognition.language
        checked = [
            check_region(heard, turns, language) for heard, turns in zip(recognition.regions, regions, strict=True)
        ]
        again = [index for index, region in enumerate(checked) if region.suspicions and engine.temperatures]
        with job.clock.part("again"):
            for index in again:
                checked[index] = _better(checked[index], waveform, spans[index], regions[index], engine, language)

        transcript = _transcript(checked, language, recognition.language_probability, engine)
        (job.out / "transcript.json").write_text(transcript.model_dump_json(), encoding="utf-8")
        n_words = sum(len(segment.words) for segment in transcript.segments)
        n_suspicious = sum(bool(segment.suspicions) for segment in transcript.segments)
        if n_suspicious:
            logger.warning("%d of %d segments may be wrong.", n_suspicious, len(transcript.segments))
        return Outcome(
            audio_s=audio.duration_s,
            summary=f"Heard {n_words} words." if n_words else "No words in this recording.",
            metrics={
                "n_words": n_words,
                "n_suspicious": n_suspicious,
                "n_again": len(again),
                "speech_s": transcript.speech_s,
                "coverage": transcript.coverage,
            },
        )


def _regions(
    turns: Sequence[Turn],
    waveform: NDArray[np.float32],
    engine: Recogniser,
    parameters: dict[str, float],
    audio_s: float,
) -> tuple[list[list[Turn]], list[Span]]:
    """What is transcribed together, as turns and as the padded stretches of audio."""
    before_s, after_s = parameters["pad_before_s"], parameters["pad_after_s"]
    if engine.word_timing == "aligned":
        regions = packed_regions(
            turns,
            waveform,
            max_gap_s=parameters["max_gap_s"],
            max_region_s=parameters["max_region_s"] - before_s - after_s,
        )
    else:
        regions = speech_regions(turns, max_gap_s=parameters["max_gap_s"], max_region_s=parameters["max_region_s"])
    return regions, padded_spans(regions, before_s=before_s, after_s=after_s, audio_s=audio_s)


def _better(
    first: CheckedRegion,
    waveform: NDArray[np.float32],
    span: Span,
    turns: Sequence[Turn],
    engine: Recogniser,
    language: str,
) -> CheckedRegion:
    """Transcribe a suspicious region again, alone, at rising temperatures until nothing speaks against it."""
    best = first
    for temperature in engine.temperatures:
        (heard,) = engine.transcribe(waveform, [span], language, temperature).regions
        candidate = check_region(heard, turns, language)
        if candidate.is_better_than(best):
            best = candidate
        if not best.suspicions:
            break
    return best


def _transcript(
    checked: Sequence[CheckedRegion], language: str, language_probability: float | None, engine: Recogniser
) -> Transcript:
    segments = in_order([segment for region in checked for segment in region.segments])
    return Transcript(
        language=language,
        language_probability=language_probability,
        word_timing=engine.word_timing,
        segments=tuple(segments),
        speech_s=sum(region.speech_s for region in checked),
        covered_s=sum(region.covered_s for region in checked),
        speech_without_text=tuple(span for region in checked for span in region.without_text),
    )


if __name__ == "__main__":
    main(Transcribe())
