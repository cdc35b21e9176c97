"""Artifacts of small made-up videos, written as the stages write them."""

import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pytest

from channelscribe.contracts import (
    Audio,
    Calibration,
    Chunk,
    Chunks,
    Cluster,
    Contract,
    Diarization,
    EnrollmentClip,
    EnrollmentRow,
    EnrollmentVoices,
    Manifest,
    SpeakerAnalysis,
    Transcript,
    Turn,
    Utterance,
    Video,
    Word,
)
from channelscribe.profiles import BUNDLED, STAGES, Profile
from channelscribe.workspace import MANIFEST, Workspace, describe_outputs, digest_of, fingerprint

WORD_S = 0.5
FINISHED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_VOICE = BUNDLED.stages["identify_speakers"]
VOICE_MODEL = (_VOICE.model, _VOICE.revision)


def unit_vector(text: str, dimension: int = 384) -> np.ndarray:
    """A vector of length 1 that only this text has."""
    vector = np.random.default_rng(zlib.crc32(text.encode("utf-8", "replace"))).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Script:
    """A video as a test thinks of it: who says what, from which second on. Words take half a second each.

    Every line is a turn, an utterance and a chunk; change ``record`` or the files before writing for anything else.
    A cluster's voice is ``unit_vector`` of its label unless ``voices`` has another, that of the turn at a second
    unless ``turn_voices`` has.
    """

    lines: Sequence[tuple[str, float, str]] = (("SPEAKER_00", 0.0, "It was the best of times"),)
    video_id: str = "v1"
    language: str = "en"
    profile: Profile = BUNDLED
    lines_per_chunk: int = 1
    video: Mapping[str, object] = field(default_factory=dict)
    published_at: datetime | None = None  # as its own page says, not its listing
    voices: Mapping[str, np.ndarray] = field(default_factory=dict)
    turn_voices: Mapping[float, np.ndarray] = field(default_factory=dict)
    variances: Mapping[str, float] = field(default_factory=dict)
    suspicions: tuple[str, ...] = ()
    text_dimension: int = 384
    text_vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def utterances(self) -> list[Utterance]:
        result = []
        for index, (cluster, start_s, text) in enumerate(self.lines):
            words = tuple(
                Word(text=word, start_s=start_s + WORD_S * n, end_s=start_s + WORD_S * (n + 1))
                for n, word in enumerate(text.split(" "))
            )
            result.append(
                Utterance(
                    index=index,
                    cluster=cluster,
                    start_s=start_s,
                    end_s=words[-1].end_s,
                    words=words,
                    suspicions=self.suspicions,
                )
            )
        return result

    def turns(self) -> tuple[Turn, ...]:
        return tuple(Turn(start_s=u.start_s, end_s=u.end_s, cluster=u.cluster) for u in self.utterances())

    def chunks(self) -> list[Chunk]:
        utterances, size = self.utterances(), self.lines_per_chunk
        groups = [utterances[at : at + size] for at in range(0, len(utterances), size)]
        return [
            Chunk(
                index=index,
                first_utterance=group[0].index,
                last_utterance=group[-1].index,
                start_s=group[0].start_s,
                end_s=group[-1].end_s,
                clusters=tuple(dict.fromkeys(u.cluster for u in group)),
                text=" ".join(u.text for u in group),
                n_tokens=sum(len(u.words) for u in group),
            )
            for index, group in enumerate(groups)
        ]

    def files(self) -> dict[str, dict[str, object]]:
        """Content of every artifact's files, by stage."""
        turns, utterances, chunks = self.turns(), self.utterances(), self.chunks()
        names = sorted({turn.cluster for turn in turns})
        clusters = tuple(
            Cluster(
                cluster=name,
                speech_s=sum(turn.duration_s for turn in turns if turn.cluster == name),
                n_turns=sum(turn.cluster == name for turn in turns),
                n_voice_embeddings=sum(turn.cluster == name for turn in turns),
                speaker_variance=self.variances.get(name),
            )
            for name in names
        )
        speech_s = sum(turn.duration_s for turn in turns)
        return {
            "fetch_audio": {
                "audio.json": Audio(
                    file_name="audio.mp3", codec="mp3", sample_rate_hz=44100, n_channels=1, duration_s=60.0
                ),
                "audio.mp3": b"sound",
            },
            "diarize": {"diarization.json": Diarization(turns=turns, exclusive_turns=turns, audio_s=60.0)},
            "transcribe": {
                "transcript.json": Transcript(
                    language=self.language,
                    word_timing="interpolated",
                    segments=(),
                    speech_s=speech_s,
                    covered_s=speech_s,
                    speech_without_text=(),
                )
            },
            "identify_speakers": {
                "analysis.json": SpeakerAnalysis(clusters=clusters, embedded_turns=turns, utterances=tuple(utterances)),
                "voice_embeddings.npz": {
                    "clusters": _rows([self.voices.get(name, unit_vector(name, 192)) for name in names], 192),
                    "turns": _rows([self._turn_voice(turn) for turn in turns], 192),
                },
            },
            "embed_text": {
                "chunks.json": Chunks(chunks=tuple(chunks)),
                "text_embeddings.npy": _rows(
                    [self.text_vectors.get(c.text, unit_vector(c.text, self.text_dimension)) for c in chunks],
                    self.text_dimension,
                ),
            },
        }

    def _turn_voice(self, turn: Turn) -> np.ndarray:
        return self.turn_voices.get(turn.start_s, unit_vector(f"{turn.cluster} {turn.start_s}", 192))

    def contract(self) -> Video:
        known: dict[str, object] = {
            "video_id": self.video_id,
            "source_id": self.video_id,
            "url": f"https://www.youtube.com/watch?v={self.video_id}",
            "title": f"Title of {self.video_id}",
            "channel_url": "https://www.youtube.com/@classics/videos",
            "channel_title": "Classics",
            "published_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return Video.model_validate({**known, **self.video})


def _rows(vectors: Sequence[np.ndarray], dimension: int) -> np.ndarray:
    return np.array(vectors, np.float32).reshape(len(vectors), dimension)


def as_bytes(content: object) -> bytes:
    if isinstance(content, Contract):
        return content.model_dump_json().encode()
    file = io.BytesIO()
    if isinstance(content, np.ndarray):
        np.save(file, content)
    elif isinstance(content, Mapping):
        np.savez(file, **content)
    else:
        assert isinstance(content, bytes)
        return content
    return file.getvalue()


def write_script(
    workspace: Workspace,
    script: Script,
    changes: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    *,
    stages: Sequence[str] | None = None,
    empty: Sequence[str] = (),
) -> None:
    """Write a video's artifacts.

    Args:
        workspace: where.
        script: what.
        changes: other content of files, by stage and name; None leaves a file out.
        stages: only these were done.
        empty: stages that found nothing to do.
    """
    workspace.write_video(script.contract())
    for stage, files in script.files().items():
        if stages is not None and stage not in stages:
            continue
        inputs = {name: workspace.current(script.video_id, name, script.profile) for name in STAGES[stage].inputs}
        digests = {name: artifact.manifest.digest for name, artifact in inputs.items() if artifact}
        spec = script.profile.stages[stage]
        name = fingerprint(stage, spec, digests)
        with workspace.new_artifact(script.video_id, stage, name) as folder:
            for file_name, content in {**files, **changes.get(stage, {})}.items():
                if content is not None:
                    (folder / file_name).write_bytes(as_bytes(content))
            outputs = describe_outputs(folder)
            manifest = Manifest(
                channelscribe_version="0.1.0",
                stage=stage,
                stage_version=1,
                profile=script.profile.name,
                video_id=script.video_id,
                fingerprint=name,
                digest=digest_of(outputs),
                engine=spec.engine,
                model=spec.model,
                revision=spec.revision,
                parameters=dict(spec.parameters),
                inputs=digests,
                outputs=outputs,
                empty=stage in empty,
                device_requested="cpu",
                device_used="cpu",
                audio_s=60.0,
                processing_s={"start": 1.0, "import": 2.0, "load": 3.0, "total": 4.0, "decode": 0.5},
                peak_memory_bytes=1,
                gpu_samples=None,
                metrics={"n": 1.0},
                published_at=script.published_at if stage == "fetch_audio" else None,
                finished_at=FINISHED_AT,
            )
            (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")


def with_text_model(profile: Profile, model: str, revision: str = "1") -> Profile:
    """The profile with another text-embedding model."""
    spec = replace(profile.stages["embed_text"], model=model, revision=revision)
    return replace(profile, name=model, stages=MappingProxyType({**profile.stages, "embed_text": spec}))


def enrollment(clip: str, n_rows: int, model: tuple[str, str] = VOICE_MODEL) -> EnrollmentVoices:
    """What the clips' program says of one accepted clip of so many pieces of ten seconds."""
    digest = hashlib.sha256(clip.encode()).hexdigest()
    return EnrollmentVoices(
        model=model[0],
        revision=model[1],
        clips=(EnrollmentClip(source=clip, sha256=digest, audio_s=60.0, speech_s=20.0, snr_db=30.0, refused=None),),
        rows=tuple(EnrollmentRow(clip_index=0, start_s=10.0 * n, end_s=10.0 * (n + 1)) for n in range(n_rows)),
    )


@dataclass
class Studio:
    """A workspace and an archive: writes scripts and loads them."""

    workspace: Workspace
    connection: object

    def write(self, script: Script, *args, **kwargs) -> None:
        write_script(self.workspace, script, *args, **kwargs)

    def load(self, script: Script, ingest_run_id: str | None = None):
        from channelscribe.store.loader import load_video

        return load_video(self.connection, self.workspace, script.video_id, script.profile, ingest_run_id)

    def add(self, script: Script):
        self.write(script)
        return self.load(script)

    def enroll(self, name: str, *voices: np.ndarray, clip: str = "", model: tuple[str, str] = VOICE_MODEL) -> str:
        """Enroll a voice from a clip of its own, with as many voice embeddings as are given."""
        from channelscribe.store.speakers.enrollments import enroll

        return enroll(self.connection, name, enrollment(clip or f"{name}.wav", len(voices), model), np.array(voices))

    def relabel(self, model: tuple[str, str] = VOICE_MODEL):
        from channelscribe.store.speakers.labels import relabel

        return relabel(self.connection, model)

    def said_by(self) -> dict[tuple[str, int], str]:
        """Who says each utterance, by video and number."""
        rows = self.rows("SELECT video_id, utterance_index, label FROM utterance_speakers")
        return {(video_id, index): label for video_id, index, label in rows}

    def rows(self, statement: str, *parameters) -> list[tuple]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def snapshot(self) -> dict[str, list[tuple]]:
        """Every row of the archive with the transaction that wrote it."""
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return {name: self.rows(f"SELECT xmin::text, t::text FROM {name} t ORDER BY t::text") for (name,) in tables}


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def voice():
    """Function that gives the voice that a cluster of this label has."""
    return lambda label: unit_vector(label, 192)


@pytest.fixture
def studio(tmp_path, archive) -> Studio:
    return Studio(Workspace(tmp_path), archive)


@pytest.fixture
def model(studio) -> tuple[str, str]:
    """The voice model, calibrated."""
    from channelscribe.store.speakers.enrollments import store_calibration

    known = {"n_speakers": 4, "n_target": 40, "n_impostor": 120, "eer": 0.02, "false_accept_rate": 0.01}
    point = {"threshold": 0.6, "margin": 0.1, "max_variance": 0.4, "same_voice": 0.7}
    calibration = Calibration(model=VOICE_MODEL[0], revision=VOICE_MODEL[1], **known, **point)
    store_calibration(studio.connection, calibration)
    return VOICE_MODEL


@pytest.fixture
def text_model():
    """Function that gives a profile another text-embedding model."""
    return with_text_model
