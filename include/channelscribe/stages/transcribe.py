"""Stage ``transcribe``: what is said, in words with times. Writes ``transcript.json``."""

from channelscribe.audio import decode
from channelscribe.contracts import Audio, Diarization, Segment, Span, Transcript, Turn
from channelscribe.models import Recogniser
from channelscribe.speakers.regions import interpolate_words, padded_spans, speech_regions
from channelscribe.stages.runner import Job, Outcome, Stage, main

# Shorter stretches of speech without text are breaths, laughs and the like.
_MIN_GAP_IN_TEXT_S = 1.0


class Transcribe(Stage[Recogniser]):
    """Speech recognition of the regions that diarization found, none of which crosses a change of speaker."""

    name = "transcribe"

    def process(self, job: Job, engine: Recogniser) -> Outcome:
        """Write the segments with their words, and how much of the speech got text."""
        audio = job.inputs["fetch_audio"].read("audio.json", Audio)
        diarization = job.inputs["diarize"].read("diarization.json", Diarization)
        parameters = {name: float(value) for name, value in job.spec.parameters.items()}
        regions = speech_regions(
            diarization.exclusive_turns, max_gap_s=parameters["max_gap_s"], max_region_s=parameters["max_region_s"]
        )
        spans = padded_spans(
            regions,
            before_s=parameters["pad_before_s"],
            after_s=parameters["pad_after_s"],
            audio_s=audio.duration_s,
        )
        with job.clock.part("decode"):
            waveform = decode(job.inputs["fetch_audio"].folder / audio.file_name)
        with job.clock.part("recognition"):
            heard = engine.transcribe(waveform, spans)

        segments = []
        for region, lines in zip(regions, heard, strict=True):
            for line in lines:
                words = interpolate_words(line.text, Span(start_s=line.start_s, end_s=line.end_s), region)
                segments.append(Segment(start_s=words[0].start_s, end_s=words[-1].end_s, words=tuple(words)))
        transcript = Transcript(
            language=engine.language,
            word_timing="interpolated",
            segments=tuple(segments),
            **_coverage(regions, [bool(lines) for lines in heard]),
        )
        (job.out / "transcript.json").write_text(transcript.model_dump_json(), encoding="utf-8")
        n_words = sum(len(segment.words) for segment in segments)
        return Outcome(
            audio_s=audio.duration_s,
            summary=f"Heard {n_words} words." if n_words else "No words in this recording.",
            metrics={"n_words": n_words, "speech_s": transcript.speech_s, "coverage": transcript.coverage},
        )


def _coverage(regions: list[list[Turn]], has_text: list[bool]) -> dict[str, float | tuple[Span, ...]]:
    speech_s = [sum(turn.duration_s for turn in region) for region in regions]
    silent = [region for region, text in zip(regions, has_text, strict=True) if not text]
    return {
        "speech_s": sum(speech_s),
        "covered_s": sum(seconds for seconds, text in zip(speech_s, has_text, strict=True) if text),
        "speech_without_text": tuple(
            Span(start_s=region[0].start_s, end_s=region[-1].end_s)
            for region in silent
            if region[-1].end_s - region[0].start_s >= _MIN_GAP_IN_TEXT_S
        ),
    }


if __name__ == "__main__":
    main(Transcribe())
