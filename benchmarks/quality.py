"""What the chain of the profile `bundled` got right: WER, DER and cpWER.

    python benchmarks/quality.py [--json FILE]

Run by the Python of the stages' environment, with the tools of the tests (`scripts/setup.py --dev`). The stages work as
programs on two recordings of the models' packages: the reading two_cities.wav, and the dialogue sample.wav with its
reference turns and words. Words are compared after Whisper's English normaliser; cpWER is meeteval's, of utterances.
DER is pyannote.metrics', over the whole recording, without collar, with overlap. Prints Markdown.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import diarization
import machine
import programs
import recordings

from channelscribe.audio import decode
from channelscribe.contracts import Diarization, SpeakerAnalysis, Transcript
from channelscribe.profiles import BUNDLED
from channelscribe.workspace import Workspace

# What is read in two_cities.wav.
TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it "
    "was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way. In short, the period was "
    "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
    "or for evil, in the superlative degree of comparison only."
)
READING = ("moonshine_voice", "assets/two_cities.wav")
DIALOGUE = ("pyannote.audio", "sample/sample.wav")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        workspace = Workspace(Path(folder))
        for video_id, file in (("reading", READING), ("dialogue", DIALOGUE)):
            recordings.add_video(workspace, BUNDLED, video_id, decode(recordings.path_of(*file)))
        for stage in programs.model_stages(BUNDLED):
            programs.call(workspace, BUNDLED, stage, "reading", "dialogue")
        rows = [
            _row("two_cities.wav", "WER", _wer(TWO_CITIES, _text(workspace, "reading"))),
            _row("sample.wav", "WER", _wer(" ".join(text for *_, text in _spoken()), _text(workspace, "dialogue"))),
            _row("sample.wav", "DER", _der(workspace)),
            _row("sample.wav", "cpWER", _cpwer(workspace)),
        ]
    models = {stage: f"{BUNDLED.stages[stage].model}, {BUNDLED.stages[stage].revision}" for stage in BUNDLED.stages}
    result = {"machine": machine.describe(), "profile": BUNDLED.name, "models": models, "rows": rows}
    lines = ["| recording | measure | % |", "| --- | --- | ---: |"]
    lines += [f"| {row['recording']} | {row['measure']} | {row['percent']:.2f} |" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _row(recording: str, measure: str, error: float) -> dict[str, Any]:
    return {"recording": recording, "measure": measure, "percent": round(100 * error, 2)}


def _spoken() -> list[tuple[str, float, float, str]]:
    """Speaker, start, end and text of what is said in the dialogue."""
    path = recordings.path_of(*DIALOGUE).with_suffix(".stm")
    fields = [line.split(maxsplit=5) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(speaker, float(start), float(end), text) for _, _, speaker, start, end, text in fields]


def _text(workspace: Workspace, video_id: str) -> str:
    transcript = workspace.require(video_id, "transcribe", BUNDLED).read("transcript.json", Transcript)
    return " ".join(segment.text for segment in transcript.segments)


def _normalised(text: str) -> str:
    from whisper_normalizer.english import EnglishTextNormalizer

    return str(EnglishTextNormalizer()(text))


def _wer(reference: str, hypothesis: str) -> float:
    import jiwer

    return float(jiwer.wer(_normalised(reference), _normalised(hypothesis)))


def _der(workspace: Workspace) -> float:
    found = workspace.require("dialogue", "diarize", BUNDLED).read("diarization.json", Diarization)
    turns = [(turn.start_s, turn.end_s, turn.cluster) for turn in found.turns]
    return diarization.der(diarization.sample(), turns)


def _cpwer(workspace: Workspace) -> float:
    from meeteval.io import SegLST
    from meeteval.wer import cpwer

    def lines(spoken: list[tuple[str, float, float, str]]) -> Any:
        names = ("speaker", "start_time", "end_time", "words")
        return SegLST(
            [
                {"session_id": "dialogue", **dict(zip(names, (*rest, _normalised(text)), strict=True))}
                for *rest, text in spoken
            ]
        )

    analysis = workspace.require("dialogue", "identify_speakers", BUNDLED).read("analysis.json", SpeakerAnalysis)
    heard = [(one.cluster, one.start_s, one.end_s, one.text) for one in analysis.utterances]
    return float(cpwer(lines(_spoken()), lines(heard))["dialogue"].error_rate)


if __name__ == "__main__":
    main()
