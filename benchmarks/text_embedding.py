"""Text embeddings by batch and precision, beside the obvious stock use of the library.

    python benchmarks/text_embedding.py [--architecture minilm|qwen3-0.6b|gte-1.5b ...] [--device cpu|cuda]
        [--texts N] [--tokens 128] [--lengths equal|mixed] [--runs 3] [--batch-tokens N ...] [--precision ...]
        [--json FILE]

Run by the Python of the stages' environment. MiniLM has its real weights, the Qwen models their true architecture with
random weights, which are as fast. All ways embed the same texts in turns, run after run; figures are medians. Stock use
is `SentenceTransformer(folder, device=...).encode(texts)`: batches of 32 texts, in the precision of the folder, which
is bfloat16 for the Qwen models and float32 for MiniLM. Prints Markdown. Without a GPU, `--device cuda` says so, and
ends with 78.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import machine

from channelscribe.contracts import GpuSample
from channelscribe.errors import ExitCode
from channelscribe.model_registry import folder_name
from channelscribe.models.text_embedding import BUNDLED as MINILM
from channelscribe.models.text_embedding import MAX_BATCH_TOKENS, TRAITS, TextEmbedder, bundled_folder, load
from channelscribe.profiles import BUNDLED, GPU, GPU_REFERENCE, StageSpec
from channelscribe.telemetry.gpu import GpuSampler
from channelscribe.telemetry.nvml import NoGpuError, open_gpu

SPECS = {
    "minilm": BUNDLED.stages["embed_text"],
    "qwen3-0.6b": GPU.stages["embed_text"],
    "gte-1.5b": GPU_REFERENCE.stages["embed_text"],
}
# Words of one token each with every tokenizer here, or nearly so.
WORDS = ("it", "was", "the", "best", "of", "times", "and", "we", "had", "nothing", "before", "us")

Way = tuple[str, str, str]  # what does it, precision, batch
Embed = Callable[[Sequence[str]], object]


def main() -> int:
    """Measure, print and write; returns the exit code."""
    options = _options()
    gpu = None
    if options.device == "cuda":
        try:
            with open_gpu() as found:
                gpu = found.name
        except NoGpuError as error:
            sys.stdout.write(f"Not measured, as no GPU was found here: {error}.\n")
            return int(ExitCode.MISCONFIGURED)
    described = {**machine.describe(), "gpu": gpu}
    results = {}
    with tempfile.TemporaryDirectory(prefix="channelscribe-benchmark-") as folder:
        os.environ["CHANNELSCRIBE_MODELS_ROOT"] = folder
        for name in dict.fromkeys(options.architecture):
            results[name] = _measure(name, options, Path(folder))
            _print(name, results[name], options.device)
    if options.json:
        content = {"machine": described, "device": options.device, "architectures": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(name: str, options: argparse.Namespace, models: Path) -> dict[str, Any]:
    spec = SPECS[name]
    if spec.model == MINILM:
        folder = bundled_folder()
    else:
        import random_text_models

        folder = models / folder_name(spec.model, spec.revision)
        random_text_models.write(folder, random_text_models.ARCHITECTURES[name])
    ways: dict[Way, Embed] = {}
    if not options.no_stock:
        ways["stock", "as stored", "32 texts"] = _stock(folder, options.device)
    for precision in options.precision:
        model = _model(spec, options.device, precision)
        for batch_tokens in options.batch_tokens or [MAX_BATCH_TOKENS[options.device]]:
            embedder = TextEmbedder(model, batch_tokens)
            ways["channelscribe", precision, f"{batch_tokens} tokens"] = embedder.embed
    half = options.device == "cuda" and TRAITS[spec.model].half_on_gpu
    stages_own = "channelscribe", "bfloat16" if half else "float32", f"{MAX_BATCH_TOKENS[options.device]} tokens"
    texts, n_tokens, lengths = _texts(embedder, options)
    seconds, busy = _interleaved(ways, texts, options)
    rows = [
        {
            "by": way[0],
            "precision": way[1],
            "batch": way[2],
            "of_stage": way == stages_own,
            "seconds": round(median(times), 4),
            "seconds_min": round(min(times), 4),
            "seconds_max": round(max(times), 4),
            "sm_percent": machine.busy_percent(busy[way]),
            "texts_per_s": round(len(texts) / median(times), 2),
            "tokens_per_s": round(n_tokens / median(times), 1),
            "times_stock": None
            if options.no_stock
            else round(median(seconds["stock", "as stored", "32 texts"]) / median(times), 3),
        }
        for way, times in seconds.items()
    ]
    weights = "real" if spec.model == MINILM else "random"
    return {
        "model": spec.model, "revision": spec.revision if weights == "real" else None, "weights": weights,
        "texts": len(texts), "tokens": n_tokens, "tokens_per_text": lengths, "runs": options.runs, "rows": rows,
    }  # fmt: skip


def _texts(embedder: TextEmbedder, options: argparse.Namespace) -> tuple[list[str], int, list[int]]:
    """Texts of the wished number of tokens, those that the model adds included; their tokens; shortest and longest."""
    chosen = random.Random(0)  # noqa: S311 - the same texts each time
    texts = []
    for _ in range(options.texts):
        goal = options.tokens if options.lengths == "equal" else chosen.randint(options.tokens // 8, options.tokens)
        words = [chosen.choice(WORDS) for _ in range(goal)]
        while len(embedder.encode([" ".join(words)])[0]) > goal:
            words.pop()
        texts.append(" ".join(words))
    lengths = [len(row) for row in embedder.encode(texts)]
    return texts, sum(lengths), [min(lengths), max(lengths)]


def _stock(folder: Path, device: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device=device)
    return lambda texts: model.encode(list(texts))


def _model(spec: StageSpec, device: str, precision: str) -> Any:
    """The model that the stage loads, in another precision, if need be."""
    import torch

    return load(spec, device)._model.to(getattr(torch, precision))


def _interleaved(
    ways: dict[Way, Embed], texts: list[str], options: argparse.Namespace
) -> tuple[dict[Way, list[float]], dict[Way, list[GpuSample]]]:
    """Seconds of each way, run after run in turns, after a first that counts for nothing; and the GPU's samples."""
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    busy: dict[Way, list[GpuSample]] = {way: [] for way in ways}
    for run in range(options.runs + 1):
        for way, embed in ways.items():
            with GpuSampler(options.device) as gpu:
                started = time.perf_counter()
                embed(texts)  # ends with an array in main memory: a GPU is done by then
                taken_s = time.perf_counter() - started
            if run:
                seconds[way].append(taken_s)
                busy[way] += gpu.samples or ()
    return seconds, busy


def _print(name: str, result: dict[str, Any], device: str) -> None:
    low, high = result["tokens_per_text"]
    lines = [
        f"{name}: {result['model']}, {result['weights']} weights, on {device}; {result['texts']} texts of {low} to "
        f"{high} tokens, {result['tokens']} in all; medians of {result['runs']} runs.",
        "",
        "| by | precision | batch | texts/s | tokens/s | times stock |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        times = "" if row["times_stock"] is None else f"{row['times_stock']:.2f}"
        lines.append(
            f"| {row['by']} | {row['precision']} | {row['batch']} | {row['texts_per_s']:,.1f} | "
            f"{row['tokens_per_s']:,.0f} | {times} |"
        )
    sys.stdout.write("\n".join(lines) + "\n\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", choices=list(SPECS), default=list(SPECS))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128, help="of a text; of the longest, where they are mixed")
    parser.add_argument("--lengths", choices=["equal", "mixed"], default="equal")
    parser.add_argument("--runs", type=int, default=3, help="runs that are measured")
    parser.add_argument("--batch-tokens", type=int, nargs="+", help="tokens of a batch; the stage's by default")
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--no-stock", action="store_true", help="leave the stock use out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
