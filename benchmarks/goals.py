"""What was to be reached, and whether it was, from the results of bench.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The archive of a goal: 30 videos with 16.6 h of audio.
ARCHIVE_S, ARCHIVE_HOURS, CHUNKS_PER_HOUR = 16.6 * 3600, 16.6, 600
SPEAKER_FILTERS = ("frequent speaker", "rare speaker", "speaker of little in many")
# What would run in production; of the bundled models a goal for a GPU says nothing.
PRODUCTION, PRODUCTION_TEXTS = "gpu", "qwen3-0.6b"
# The chain's texts are a babble, in chunks of another number than those of speech: the goal counts on so many an hour.
STAGES_BY_AUDIO = ("diarize", "transcribe", "identify_speakers")

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """One goal.

    Args:
        text: the goal.
        measured: what was found; None where nothing was.
        met: whether that is enough.
    """

    text: str
    measured: str | None
    met: bool

    @property
    def verdict(self) -> str:
        """For people."""
        return "not measured" if self.measured is None else "yes" if self.met else "no"


def goals(results: Results, memory: Results | None = None, scale: Results | None = None) -> list[Goal]:
    """All goals; the chain over three hours and the archive at size are measured by themselves."""
    return [*_cpu(results.get("cpu", {}), memory or {}), *_gpu(results.get("gpu", {})), *_archive(scale or {})]


def _cpu(result: Results, memory: Results) -> list[Goal]:
    faster, equal = "CPU: diarization 5 times stock", "CPU: DER at most 0.3 points above stock's on every recording"
    diarization, lengths = _part(result, "diarization"), _part(result, "chain").get("lengths", [])
    found = diarization.get("all", {})
    worst = found.get("worst_der_points")
    cores = f"; {diarization['machine']['cores']} cores" if diarization else ""
    chain = max(lengths, key=lambda length: length["minutes"], default=None)
    long = next((length for length in [*lengths, *memory.get("lengths", [])] if length["minutes"] >= 180), None)
    return [
        _least(faster, found.get("times_stock"), 5, "{:.1f} times" + cores),
        _most(equal, worst, 0.3, "{:+.2f} points at the worst"),
        _least(
            "CPU: whole chain at RTFx 8, profile `bundled`",
            chain and chain["rtfx"],
            8,
            f"{{:.1f}} over {chain['minutes']:g} min" if chain else "",
        ),
        _most("CPU: peak memory under 3 GB for 3 h of audio", long and long["peak_memory_bytes"] / 1e9, 3, "{:.2f} GB"),
    ]


def _gpu(result: Results) -> list[Goal]:
    voices = _part(result, "voice embedding").get("models", {}).get("ecapa", {}).get("rows", [])
    one_call = next((row["times_files"] for row in voices if row["way"] == "one call"), None)
    return [
        _least("GPU: voice embedding 20 times the way through temporary files", one_call, 20, "{:.1f} times"),
        _least("GPU: 1,100 texts/s of 128 tokens, 1.5 B", _texts_per_s(result, "gte-1.5b"), 1100, "{:,.0f}"),
        _least("GPU: 3,000 texts/s of 128 tokens, 0.6 B", _texts_per_s(result, "qwen3-0.6b"), 3000, "{:,.0f}"),
        _most(
            "GPU: 30 videos, 16.6 h, through all stages in 300 s",
            _archive_s(result),
            300,
            "{:.0f} s, estimated from the chain's work at its longest and the texts', starts not counted",
        ),
        _least("GPU: SM busy 80 % while a GPU stage works", _least_busy(result), 80, "{:.0f} % in the least busy"),
    ]


def _archive(scale: Results) -> list[Goal]:
    """Those of a million utterances; a slow moment of a machine that others use, too, counts as it was."""
    archives = scale.get("archives", [])
    large = next((one for one in archives if one["asked_utterances"] >= 1_000_000), None)
    from_files = [one["fill"]["n_utterances"] / one["refill"]["rows_s"] for one in archives if "refill" in one]
    filters = large["searches"]["filters"] if large else {}
    rows = [filters[name] for name in ("none", *SPEAKER_FILTERS) if name in filters]
    slowest = max(rows, key=lambda row: row["both_p95_ms"], default=None)
    busy = f" (load {large['searches']['load_average']})" if large else ""
    loaded = large["fill"]["n_utterances"] / large["fill"]["rows_s"] if large else None
    return [
        _most("Archive: search p95 under 100 ms at 1 million utterances, also by speaker",
              slowest and slowest["both_p95_ms"], 100, f"{{:.0f}} ms at the worst{busy}"),
        _least("Archive: recall@10 of 0.95 there, with every filter",
               min((row["recall"] for row in filters.values()), default=None), 0.95, "{:.3f} at the worst"),
        _least("Archive: 5,000 utterances/s in bulk, indexes built after", loaded, 5000,
               "{:,.0f} from memory" + "".join(f"; {rate:,.0f} from files" for rate in from_files[-1:])),
    ]  # fmt: skip


def _part(result: Results, name: str) -> Mapping[str, Any]:
    """A part's result, empty where there is none or the part did not get through."""
    part = result.get("parts", {}).get(name, {})
    found: Mapping[str, Any] = part.get("result", {})
    return found


def _least(text: str, value: float | None, goal: float, form: str) -> Goal:
    return Goal(text, None, False) if value is None else Goal(text, form.format(value), value >= goal)


def _most(text: str, value: float | None, goal: float, form: str) -> Goal:
    return Goal(text, None, False) if value is None else Goal(text, form.format(value), value <= goal)


def _texts_per_s(result: Results, architecture: str) -> float | None:
    """In the batches and the precision of the stage."""
    rows = _part(result, "text embedding").get("architectures", {}).get(architecture, {}).get("rows", [])
    return next((row["texts_per_s"] for row in rows if row["of_stage"]), None)


def _archive_s(result: Results) -> float | None:
    """Seconds of the four stages, one after another, on one GPU; None unless all of them were measured."""
    stages, texts = _production_stages(result), _texts_per_s(result, PRODUCTION_TEXTS)
    if not (texts and all(name in stages for name in STAGES_BY_AUDIO)):
        return None
    by_audio = sum(ARCHIVE_S / stages[name]["work_rtfx"] for name in STAGES_BY_AUDIO)
    return float(by_audio + ARCHIVE_HOURS * CHUNKS_PER_HOUR / texts)


def _least_busy(result: Results) -> float | None:
    """SM % of the least busy stage of the production chain."""
    known = [stage["sm_percent"] for stage in _production_stages(result).values() if stage["sm_percent"] is not None]
    return min(known, default=None)


def _production_stages(result: Results) -> Mapping[str, Any]:
    """The stages of the production chain at its longest recording; empty where it was not measured."""
    chain = _part(result, "chain")
    lengths = chain.get("lengths", []) if chain.get("profile") == PRODUCTION else []
    longest: Results = max(lengths, key=lambda length: length["minutes"], default={"stages": {}})
    stages: Mapping[str, Any] = longest["stages"]
    return stages
