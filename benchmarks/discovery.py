"""How well unknown voices of different videos are put together: pairwise precision and recall on labelled speech.

    python benchmarks/discovery.py --root FOLDER [--out benchmarks/results/discovery.json]

The speech is that of Debian's packages, unpacked into FOLDER: telephone prompts, letters and syllables for learners,
and the spoken names of stamps in a paint program. Each package, or each language of one, is taken to have one reader.

    apt-get download asterisk-core-sounds-{en,fr,it,ru}-g722 asterisk-prompt-{es-co,fr-armelle,it-menardi-wav} \\
        klettres-data tuxpaint-stamps-default
    for package in *.deb; do dpkg -x "$package" FOLDER; done

A reader's clips are joined, in the order of their names, into pieces of 8 to 40 s: the clusters, each of another video.
The threshold is chosen on every second reader by the rule of `channelscribe calibrate`, and judged on the others; then
the profile's own is judged on all. A pair of clusters is right if both are of one reader. Most readers read in one
session, so recall in real life is lower.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from conversations import VOICES, trimmed
from machine import describe
from numpy.typing import NDArray
from sklearn.metrics.cluster import pair_confusion_matrix

from channelscribe.audio import SAMPLE_RATE_HZ, decode
from channelscribe.contracts import Turn
from channelscribe.errors import BadInputError
from channelscribe.models import VoiceEncoder
from channelscribe.profiles import BUNDLED
from channelscribe.speakers.calibration import Pieces, clip_impostors, threshold_at
from channelscribe.speakers.discovery import group_voices
from channelscribe.speakers.operating_points import OPERATING_POINTS
from channelscribe.speakers.variance import weighted_centroid
from channelscribe.speakers.voices import embed_turns, windowing_of
from channelscribe.stages.calibrate import SAME_VOICE_RATE
from channelscribe.stages.clock import Clock
from channelscribe.stages.engines import load_engine
from channelscribe.store.speakers.discovered import MIN_SPEECH_S

MAX_SPEECH_S, MAX_CLUSTERS, MIN_CLIP_S, TURN_S = 40.0, 10, 0.4, 3.0
LEVEL_RMS = 0.06


@dataclass(frozen=True)
class Clusters:
    """(n, dim) mean voices, and (n,) names of their readers."""

    voices: NDArray[np.float32]
    readers: NDArray[np.str_]

    def of(self, readers: set[str]) -> "Clusters":
        """Those of some readers."""
        chosen = np.isin(self.readers, sorted(readers))
        return Clusters(self.voices[chosen], self.readers[chosen])


def main() -> None:
    """Embed, group, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the packages are unpacked")
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args()
    spec = BUNDLED.stages["identify_speakers"]
    encoder: VoiceEncoder = load_engine(spec, "cpu", Clock())  # type: ignore[assignment]
    clusters = embed(recordings(options.root), encoder)
    names = sorted(set(clusters.readers))
    if len(names) < 4:
        parser.error(f"{options.root} has {len(names)} readers: unpack the packages that --help names")
    halves = [set(names[0::2]), set(names[1::2])]
    point = OPERATING_POINTS[spec.model, spec.revision]
    result = {
        "machine": describe(),
        "model": f"{spec.model} {spec.revision}",
        "held_out": [
            judge(clusters.of(other), threshold_of(clusters.of(half)))
            for half, other in (halves, halves[::-1])
        ],
        "all": judge(clusters, point.same_voice or 1.0),
    }  # fmt: skip
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def recordings(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Readers, and their clips."""
    sounds, share = root / "usr/share/asterisk/sounds", root / "usr/share"
    for name, folder in VOICES.items():
        yield name, sorted((sounds / folder).rglob("*.*"))
    for folder in sorted((share / "klettres").glob("*/alpha")):
        yield f"letters-{folder.parent.name}", sorted(folder.parent.rglob("*.ogg"))
    languages: dict[str, list[Path]] = {}
    for path in sorted((share / "tuxpaint/stamps").rglob("*_desc_*.ogg")):
        languages.setdefault(path.stem.rpartition("_desc_")[2], []).append(path)
    for language, paths in languages.items():
        yield f"stamps-{language}", paths


def embed(readers: Iterator[tuple[str, list[Path]]], encoder: VoiceEncoder) -> Clusters:
    """The mean voice of each piece of each reader."""
    random = np.random.default_rng(0)
    windowing = windowing_of(BUNDLED.stages["identify_speakers"].parameters)
    voices, names = [], []
    for name, paths in readers:
        for waveform in pieces(paths, random):
            edges = np.linspace(0, len(waveform) / SAMPLE_RATE_HZ, int(len(waveform) / SAMPLE_RATE_HZ / TURN_S) + 1)
            turns = [Turn(start_s=start, end_s=end, cluster="x") for start, end in pairwise(edges.tolist())]
            embedded, vectors = embed_turns(waveform, SAMPLE_RATE_HZ, turns, encoder, windowing)
            voices.append(weighted_centroid(vectors, np.array([turn.duration_s for turn in embedded])))
            names.append(name)
    return Clusters(np.array(voices, np.float32), np.array(names))


def pieces(paths: list[Path], random: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """A reader's clips at one level, joined to as much speech as a cluster may have."""
    parts: list[NDArray[np.float32]] = []
    wanted, n_made = random.uniform(MIN_SPEECH_S, MAX_SPEECH_S), 0
    for path in paths:
        try:
            clip = trimmed(decode(path))
        except BadInputError:
            continue
        if len(clip) < MIN_CLIP_S * SAMPLE_RATE_HZ:
            continue
        parts.append(clip * np.float32(LEVEL_RMS / np.sqrt(np.mean(clip**2))))
        if sum(map(len, parts)) >= wanted * SAMPLE_RATE_HZ:
            yield np.concatenate(parts)
            parts, wanted, n_made = [], random.uniform(MIN_SPEECH_S, MAX_SPEECH_S), n_made + 1
            if n_made == MAX_CLUSTERS:
                return
    if parts and sum(map(len, parts)) >= MIN_SPEECH_S * SAMPLE_RATE_HZ:
        yield np.concatenate(parts)


def threshold_of(clusters: Clusters) -> float:
    """The rule of `calibrate`, each cluster a clip."""
    _, owners = np.unique(clusters.readers, return_inverse=True)
    n = len(owners)
    return threshold_at(SAME_VOICE_RATE, clip_impostors(Pieces(clusters.voices, np.ones(n), owners, np.arange(n))))


def judge(clusters: Clusters, same_voice: float) -> dict[str, float]:
    """Pairwise precision and recall at a threshold."""
    groups = group_voices(clusters.voices, np.arange(len(clusters.voices)), same_voice)
    alone = groups < 0
    groups[alone] = groups.max() + 1 + np.arange(alone.sum())
    (_, wrong), (missed, right) = pair_confusion_matrix(clusters.readers, groups)
    return {
        "same_voice": round(same_voice, 3),
        "n_readers": len(set(clusters.readers)),
        "n_clusters": len(clusters.readers),
        "n_pairs_of_one_reader": int(right + missed) // 2,
        "precision": round(float(right / max(1, right + wrong)), 4),
        "recall": round(float(right / max(1, right + missed)), 4),
    }


if __name__ == "__main__":
    main()
