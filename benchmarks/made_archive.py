"""Made videos for benchmarks of the archive: records as the stages' artifacts give them, with invented content.

Every video is made from the seed and its number alone, so that any of them can be made again.

- **Videos** have 200 to 400 utterances, are of one of a few channels (the n-th has a share of 1/n), and appeared over
  five years, oldest first.
- **Speakers**: each channel has a host in all of its videos, with half of what is said; each guest is in three videos
  in a row; the announcer is in every third video, with 2 % of it.
- **Chunks**: as many as utterances. Of ten units eight are an utterance that is a chunk, one is two utterances in one
  chunk, and one a long utterance cut into two chunks.
- **Words**: 14 an utterance on average, from 50,000, of which the n-th is said with a share of 1/(n + 2.7) (Zipf and
  Mandelbrot); the first are English stop words, the others made of syllables.
- **Text embeddings**: unit vectors of 384 numbers around 2,000 topics, which lie around 64 fields: a topic is its field
  and 0.8 times a random unit vector; a chunk is its topic, 0.7 times a random vector within a space of 32 dimensions
  that all share, and 0.3 times one of all 384, each of length 1 on average. A video has four topics.
- **Voice embeddings**: unit vectors of 192 numbers: the speaker's, and half as much noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice, product
from typing import Any

import numpy as np
import numpy.typing as npt

from channelscribe.contracts import (
    Audio,
    Chunk,
    Chunks,
    Cluster,
    Diarization,
    Manifest,
    SpeakerAnalysis,
    Transcript,
    Turn,
    Utterance,
    Video,
    Word,
)
from channelscribe.profiles import BUNDLED, STAGES
from channelscribe.store.artifacts import Vectors, VideoRecord
from channelscribe.workspace import MANIFEST, Workspace, describe_outputs, digest_of, fingerprint

TEXT_DIM, VOICE_DIM = 384, 192
N_WORDS, N_TOPICS, N_FIELDS, SHARED_DIM = 50_000, 2_000, 64, 32
UTTERANCES_PER_VIDEO = 300
WORD_S, PAUSE_S = 0.35, 0.5
FIRST_DAY, N_DAYS = datetime(2021, 1, 1, tzinfo=UTC), 5 * 365
GUEST_VIDEOS, ANNOUNCER_EVERY = 3, 3
_STOP_WORDS = (
    "the", "of", "and", "to", "a", "in", "is", "it", "you", "that", "he", "was", "for", "on", "are", "with", "as",
    "i", "his", "they", "be", "at", "this", "have", "from", "or", "had", "by", "not", "but", "what", "all", "were",
    "we", "when", "there", "can", "an", "your", "which", "their", "if", "do", "will", "how", "about", "then",
    "them", "these", "so", "some", "her", "would", "him", "has", "more", "no",
)  # fmt: skip


@dataclass(frozen=True)
class MadeArchive:
    """A world of made videos.

    Args:
        n_utterances: of the whole archive, about.
        seed: of everything.
    """

    n_utterances: int
    seed: int = 0

    @property
    def n_videos(self) -> int:
        """So many videos make so many utterances."""
        return max(1, round(self.n_utterances / UTTERANCES_PER_VIDEO))

    @property
    def n_channels(self) -> int:
        """One for each 150 videos, and four at least."""
        return max(4, self.n_videos // 150)

    @cached_property
    def words(self) -> npt.NDArray[np.str_]:
        """(N_WORDS,) words, the most frequent first."""
        syllables = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
        made = ["".join(parts) for parts in product(syllables, repeat=3)]
        order = np.random.default_rng(self.seed).permutation(len(made))
        return np.array([*_STOP_WORDS, *(made[n] for n in order)][:N_WORDS])

    @cached_property
    def topics(self) -> Vectors:
        """(N_TOPICS, TEXT_DIM), not normalised."""
        random = np.random.default_rng([self.seed, 1])
        fields = _unit(random.normal(size=(N_FIELDS, TEXT_DIM)))
        return fields[random.integers(N_FIELDS, size=N_TOPICS)] + 0.8 * _unit(random.normal(size=(N_TOPICS, TEXT_DIM)))

    def draw_words(self, random: np.random.Generator, n: int) -> list[str]:
        """Words with the shares that they are said with."""
        found = np.minimum(np.searchsorted(self._shares, random.random(n)), N_WORDS - 1)
        drawn: list[str] = self.words[found].tolist()
        return drawn

    def draw_text_vectors(self, random: np.random.Generator, topics: Sequence[int]) -> Vectors:
        """A unit vector of each topic."""
        n = len(topics)
        shared = random.normal(size=(n, SHARED_DIM)).astype(np.float32) @ self._shared / SHARED_DIM**0.5
        own = random.normal(size=(n, TEXT_DIM)).astype(np.float32) / TEXT_DIM**0.5
        return _unit(self.topics[np.asarray(topics)] + 0.7 * shared + 0.3 * own)

    def voice(self, speaker: str) -> Vectors:
        """A speaker's voice, (VOICE_DIM,)."""
        number = int.from_bytes(speaker.encode(), "big")
        return _unit(np.random.default_rng([self.seed, 2, number]).normal(size=(1, VOICE_DIM)))[0]

    def channel(self, number: int) -> int:
        """Which channel a video is of."""
        # Videos beyond those of the archive may be asked for: the day after.
        return int(self._channels[number % len(self._channels)])

    def published_at(self, number: int) -> datetime:
        """When a video appeared."""
        return FIRST_DAY + timedelta(days=N_DAYS) * (number / self.n_videos)

    def speakers(self, number: int) -> list[str]:
        """Who speaks in a video: the host, the guest, and the announcer in some."""
        announcer = ["Announcer"] if number % ANNOUNCER_EVERY == 0 else []
        return [f"Host {self.channel(number)}", f"Guest {number // GUEST_VIDEOS}", *announcer]

    def video(self, number: int) -> VideoRecord:
        """The record of one video."""
        random = np.random.default_rng([self.seed, 4, number])
        speakers = self.speakers(number)
        clusters = [f"SPEAKER_{index:02d}" for index in range(len(speakers))]
        shares = [0.5, 0.48, 0.02] if len(speakers) == 3 else [0.5, 0.5]
        utterances, chunks = self._talk(random, clusters, shares)
        turns = tuple(Turn.model_construct(start_s=u.start_s, end_s=u.end_s, cluster=u.cluster) for u in utterances)
        video_topics = random.integers(N_TOPICS, size=4)
        n_topics = len(chunks)
        audio_s = utterances[-1].end_s + 1
        voices = np.stack([self.voice(speaker) for speaker in speakers])
        said_by = [clusters.index(turn.cluster) for turn in turns]
        speech_s = sum(turn.duration_s for turn in turns)
        return VideoRecord(
            video=self._video(number),
            audio=Audio(file_name="audio.m4a", codec="aac", sample_rate_hz=44100, n_channels=2, duration_s=audio_s),
            diarization=Diarization.model_construct(turns=turns, exclusive_turns=turns, audio_s=audio_s),
            transcript=Transcript.model_construct(
                language="en", language_probability=None, word_timing="aligned", segments=(), speech_s=speech_s,
                covered_s=speech_s, speech_without_text=(),
            ),
            analysis=SpeakerAnalysis.model_construct(
                clusters=tuple(_cluster(name, turns) for name in clusters if any(t.cluster == name for t in turns)),
                embedded_turns=turns,
                utterances=tuple(utterances),
            ),
            chunks=Chunks.model_construct(chunks=tuple(chunks)),
            text_embeddings=self.draw_text_vectors(random, video_topics[np.arange(n_topics) * 4 // n_topics]),
            cluster_embeddings=_noisy(random, voices[[c in {t.cluster for t in turns} for c in clusters]], 0.2),
            turn_embeddings=_noisy(random, voices[said_by], 0.5),
            manifests=tuple(_manifest(f"made{number:07d}", stage, audio_s) for stage in STAGES),
        )  # fmt: skip

    def videos(self, first: int = 0, last: int | None = None) -> Iterator[VideoRecord]:
        """The records of videos, all of them unless told otherwise."""
        return (self.video(number) for number in range(first, self.n_videos if last is None else last))

    @cached_property
    def _channels(self) -> npt.NDArray[np.intp]:
        weights = 1 / np.arange(1, self.n_channels + 1)
        random = np.random.default_rng([self.seed, 3])
        return random.choice(self.n_channels, size=self.n_videos, p=weights / weights.sum())

    @cached_property
    def _shares(self) -> npt.NDArray[np.float64]:
        shares = np.cumsum(1 / (np.arange(1, N_WORDS + 1) + 2.7))
        return shares / shares[-1]

    @cached_property
    def _shared(self) -> Vectors:
        random = np.random.default_rng([self.seed, 5])
        basis: Vectors = np.linalg.qr(random.normal(size=(TEXT_DIM, SHARED_DIM)))[0].T.astype(np.float32)
        return basis

    def _video(self, number: int) -> Video:
        channel = self.channel(number)
        return Video(
            video_id=f"made{number:07d}",
            source_id=f"made{number:07d}",
            url=f"https://example.org/videos/made{number:07d}",
            title=f"Made video {number}",
            channel_url=f"https://example.org/channels/{channel}",
            channel_title=f"Channel {channel}",
            published_at=self.published_at(number),
        )

    def _talk(
        self, random: np.random.Generator, clusters: Sequence[str], shares: Sequence[float]
    ) -> tuple[list[Utterance], list[Chunk]]:
        utterances: list[Utterance] = []
        chunks: list[Chunk] = []
        n = int(random.integers(200, 400))
        # As many units as could be needed, drawn at once.
        units = random.random(n).tolist()
        lengths = np.clip(random.lognormal(2.4, 0.7, size=(n, 2)), 1, 80).astype(int).tolist()
        said_by = np.searchsorted(np.cumsum(shares)[:-1], random.random((n, 2))).tolist()
        texts = iter(self.draw_words(random, sum(map(sum, lengths))))
        at_s = 0.0
        for unit, (first, second), speakers in zip(units, lengths, said_by, strict=True):
            if len(utterances) >= n:
                break
            cut, joined = unit < 0.1, 0.1 <= unit < 0.2
            sizes = [first + second] if cut else [first, second] if joined else [first]
            made = []
            for size, speaker in zip(sizes, speakers, strict=False):
                made.append(_utterance(len(utterances), clusters[speaker], at_s, list(islice(texts, size))))
                utterances.append(made[-1])
                at_s = made[-1].end_s + PAUSE_S
            words = [word for utterance in made for word in utterance.words]
            for part in (words[:first], words[first:]) if cut else (words,):
                chunks.append(_chunk(len(chunks), made, part))
        return utterances, chunks


@dataclass
class Known:
    """What is remembered of the videos that pass, to know what a search should find.

    Args:
        vectors: (n_chunks, TEXT_DIM), once all have passed.
    """

    _vectors: list[Vectors] = field(default_factory=list)
    _places: dict[tuple[str, float], int] = field(default_factory=dict)
    _videos: list[int] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _heard: list[int] = field(default_factory=list)

    def watching(self, records: Iterator[VideoRecord]) -> Iterator[VideoRecord]:
        """The same records."""
        for record in records:
            assert record.text_embeddings is not None  # noqa: S101 - a made video has text
            self._vectors.append(record.text_embeddings)
            for chunk in record.chunks.chunks:
                self._places[record.video.video_id, chunk.end_s] = len(self._videos)
                self._videos.append(int(record.video.video_id.removeprefix("made")))
                self._texts.append(chunk.text)
                self._heard.append(sum(1 << int(cluster.removeprefix("SPEAKER_")) for cluster in chunk.clusters))
            yield record

    @cached_property
    def vectors(self) -> Vectors:
        """(n_chunks, TEXT_DIM), of all chunks that have passed."""
        return np.concatenate(self._vectors)

    def place(self, video_id: str, end_s: float) -> int:
        """Which row of the vectors a chunk has, by where it ends."""
        return self._places[video_id, end_s]

    def draw_queries(self, random: np.random.Generator, n: int) -> list[str]:
        """One to three words of a chunk each, as they come: stop words, frequent and rare ones."""
        drawn = []
        for chunk, size in zip(random.integers(len(self._texts), size=n), random.integers(1, 4, size=n), strict=True):
            words = self._texts[chunk].split()
            drawn.append(" ".join(random.choice(words, size=min(size, len(words)), replace=False)))
        return drawn

    def allowed(self, made: MadeArchive, narrowed: Mapping[str, Any]) -> npt.NDArray[np.intp]:
        """Rows of the chunks that a filter, as `store.search.hybrid.search` takes it, lets through."""
        videos, heard = np.array(self._videos), np.array(self._heard)
        passing = np.ones(len(videos), dtype=bool)
        for name, value in narrowed.items():
            numbers = range(made.n_videos)
            if name == "speaker":
                speakers = [made.speakers(n) for n in numbers]
                bits = np.array([1 << own.index(value) if value in own else 0 for own in speakers])
                passing &= heard & bits[videos] > 0
            else:
                tests = {
                    "channel": lambda n, value=value: f"Channel {made.channel(n)}" == value,
                    "since": lambda n, value=value: made.published_at(n).date() >= value,
                    "video": lambda n, value=value: f"made{n:07d}" == value,
                }
                passing &= np.array([tests[name](n) for n in numbers])[videos]
        return np.flatnonzero(passing)


def write_artifacts(workspace: Workspace, record: VideoRecord) -> None:
    """Write a record as the stages write it."""
    workspace.write_video(record.video)
    video_id = record.video.video_id
    files: dict[str, dict[str, Any]] = {
        "fetch_audio": {"audio.json": record.audio},
        "diarize": {"diarization.json": record.diarization},
        "transcribe": {"transcript.json": record.transcript},
        "identify_speakers": {
            "analysis.json": record.analysis,
            "voice_embeddings.npz": {"clusters": record.cluster_embeddings, "turns": record.turn_embeddings},
        },
        "embed_text": {"chunks.json": record.chunks, "text_embeddings.npy": record.text_embeddings},
    }
    for manifest in record.manifests:
        stage = manifest.stage
        inputs = {name: workspace.current(video_id, name, BUNDLED) for name in STAGES[stage].inputs}
        digests = {name: artifact.manifest.digest for name, artifact in inputs.items() if artifact}
        name = fingerprint(stage, BUNDLED.stages[stage], digests)
        with workspace.new_artifact(video_id, stage, name) as folder:
            for file_name, content in files[stage].items():
                if isinstance(content, np.ndarray):
                    np.save(folder / file_name, content)
                elif isinstance(content, dict):
                    np.savez(folder / file_name, **content)
                else:
                    (folder / file_name).write_text(content.model_dump_json(), encoding="utf-8")
            outputs = describe_outputs(folder)
            whole = manifest.model_copy(
                update={"fingerprint": name, "digest": digest_of(outputs), "inputs": digests, "outputs": outputs}
            )
            (folder / MANIFEST).write_text(whole.model_dump_json(), encoding="utf-8")


def _utterance(index: int, cluster: str, start_s: float, texts: Sequence[str]) -> Utterance:
    words = [
        {
            "text": text,
            "start_s": round(start_s + WORD_S * n, 2),
            "end_s": round(start_s + WORD_S * (n + 1), 2),
            "probability": round(0.5 + len(text) / 40, 3),
        }
        for n, text in enumerate(texts)
    ]
    # Validated, as that is faster than model_construct.
    return Utterance.model_validate(
        {"index": index, "cluster": cluster, "start_s": start_s, "end_s": words[-1]["end_s"], "words": words}
    )


def _chunk(index: int, utterances: Sequence[Utterance], words: Sequence[Word]) -> Chunk:
    return Chunk.model_construct(
        index=index,
        first_utterance=utterances[0].index,
        last_utterance=utterances[-1].index,
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        clusters=tuple(dict.fromkeys(utterance.cluster for utterance in utterances)),
        text=" ".join(word.text for word in words),
        n_tokens=len(words) * 4 // 3,
    )


def _cluster(name: str, turns: Sequence[Turn]) -> Cluster:
    own = [turn.duration_s for turn in turns if turn.cluster == name]
    return Cluster(cluster=name, speech_s=sum(own), n_turns=len(own), n_voice_embeddings=len(own), speaker_variance=0.1)


def _manifest(video_id: str, stage: str, audio_s: float) -> Manifest:
    spec = BUNDLED.stages[stage]
    return Manifest.model_construct(
        channelscribe_version="made", stage=stage, stage_version=STAGES[stage].version, profile=BUNDLED.name,
        video_id=video_id, fingerprint="made", digest="made", engine=spec.engine, model=spec.model,
        revision=spec.revision, parameters=dict(spec.parameters), inputs={}, outputs={}, empty=False,
        device_requested="cpu", device_used="cpu", audio_s=audio_s, processing_s={"total": 1.0}, peak_memory_bytes=1,
        gpu_samples=None, metrics={}, finished_at=FIRST_DAY,
    )  # fmt: skip


def _noisy(random: np.random.Generator, voices: Vectors, amount: float) -> Vectors:
    return _unit(voices + amount * random.normal(size=voices.shape) / VOICE_DIM**0.5)


def _unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit
