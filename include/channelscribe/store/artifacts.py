"""Read the artifacts of one video and check them, before the archive is touched."""

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from channelscribe.contracts import (
    Audio,
    Chunks,
    Cluster,
    Contract,
    Diarization,
    Manifest,
    SpeakerAnalysis,
    Transcript,
    Turn,
    Video,
)
from channelscribe.errors import BadInputError
from channelscribe.profiles import STAGES, Profile
from channelscribe.workspace import Artifact, Workspace, not_done

Vectors = npt.NDArray[np.float32]
C = TypeVar("C", bound=Contract)

# Float16 models are normalised to within 1e-3; a vector off by more was not normalised at all.
_NORM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class VideoRecord:
    """All that is known of one video, checked.

    Args:
        video: as it was listed, with the date of its own page where that is known.
        text_embeddings: (n_chunks, dim) float32, L2-normalised, or None without chunks.
        analysis: its clusters are those of the artifact, and behind them those that only ever speak over others.
        cluster_embeddings: (n_clusters of the artifact, dim) float32, or None without voice embeddings;
            L2-normalised where the cluster's ``n_voice_embeddings`` is not 0.
        turn_embeddings: (n_embedded_turns, dim) float32, L2-normalised, or None without embedded turns.
        manifests: of the stages that were done, in the order of work.
    """

    video: Video
    audio: Audio
    diarization: Diarization
    transcript: Transcript | None
    analysis: SpeakerAnalysis
    chunks: Chunks
    text_embeddings: Vectors | None
    cluster_embeddings: Vectors | None
    turn_embeddings: Vectors | None
    manifests: tuple[Manifest, ...]


def read_record(workspace: Workspace, video_id: str, profile: Profile) -> VideoRecord:
    """Read what the profile's stages made of a video.

    Raises:
        BadInputError: nobody recorded the video, or an artifact contradicts itself or another one.
        MisconfiguredError: a stage is yet to be done.
    """
    video = workspace.read_video(video_id)
    artifacts = workspace.artifacts(video_id, profile)
    for stage, artifact in artifacts.items():
        if artifact is None and not _is_skipped(stage, artifacts):
            raise not_done(video_id, stage)
    fetched = artifacts["fetch_audio"]
    assert fetched is not None  # noqa: S101 - it has no inputs, so that it is never skipped
    audio = fetched.read("audio.json", Audio)
    diarization = _read(artifacts["diarize"], "diarization.json", Diarization) or Diarization(
        turns=(), exclusive_turns=(), audio_s=audio.duration_s
    )
    transcript = _read(artifacts["transcribe"], "transcript.json", Transcript)
    analysis = _read(artifacts["identify_speakers"], "analysis.json", SpeakerAnalysis) or SpeakerAnalysis(
        clusters=(), embedded_turns=(), utterances=()
    )
    chunks = _read(artifacts["embed_text"], "chunks.json", Chunks) or Chunks(chunks=())
    _check_times(audio, diarization, analysis, chunks)
    cluster_embeddings, turn_embeddings = _voice_embeddings(artifacts["identify_speakers"], analysis)
    analysis = _with_overlapped_clusters(analysis, diarization)
    _check_references(diarization.exclusive_turns, analysis, chunks)
    return VideoRecord(
        video=_with_own_date(video, fetched),
        audio=audio,
        diarization=diarization,
        transcript=transcript,
        analysis=analysis,
        chunks=chunks,
        text_embeddings=_text_embeddings(artifacts["embed_text"], chunks),
        cluster_embeddings=cluster_embeddings,
        turn_embeddings=turn_embeddings,
        manifests=tuple(artifact.manifest for artifact in artifacts.values() if artifact),
    )


def _with_own_date(video: Video, fetched: Artifact) -> Video:
    """A listing may have no date, or a guess such as "2 years ago"."""
    day = fetched.manifest.published_at
    return video if day is None else video.model_copy(update={"published_at": day})


def _is_skipped(stage: str, artifacts: Mapping[str, Artifact | None]) -> bool:
    """Whether an empty input left the stage nothing to do."""
    inputs = ((name, artifacts[name]) for name in STAGES[stage].inputs)
    return any(artifact.manifest.empty if artifact else _is_skipped(name, artifacts) for name, artifact in inputs)


def _read(artifact: Artifact | None, file_name: str, contract: type[C]) -> C | None:
    if artifact is None or (artifact.manifest.empty and not (artifact.folder / file_name).exists()):
        return None
    try:
        return artifact.read(file_name, contract)
    except FileNotFoundError:
        raise BadInputError(f"{artifact.folder} has no {file_name}: {_redo(artifact)}.") from None


def _redo(artifact: Artifact) -> str:
    return f"do {artifact.manifest.stage} again with --force"


def _check_times(audio: Audio, diarization: Diarization, analysis: SpeakerAnalysis, chunks: Chunks) -> None:
    if not math.isfinite(audio.duration_s):
        raise BadInputError(f"The duration of {audio.file_name} is not a number: do fetch_audio again with --force.")
    spans: Iterable[tuple[str, float, float]] = (
        *(("turn", turn.start_s, turn.end_s) for turn in diarization.turns),
        *(("exclusive turn", turn.start_s, turn.end_s) for turn in diarization.exclusive_turns),
        *(("embedded turn", turn.start_s, turn.end_s) for turn in analysis.embedded_turns),
        *(("utterance", utterance.start_s, utterance.end_s) for utterance in analysis.utterances),
        *(("word", word.start_s, word.end_s) for utterance in analysis.utterances for word in utterance.words),
        *(("chunk", chunk.start_s, chunk.end_s) for chunk in chunks.chunks),
    )
    for name, start_s, end_s in spans:
        # Written so that a time which is not a number fails too.
        if not (0 <= start_s <= end_s < math.inf):
            raise BadInputError(f"A {name} goes from {start_s} to {end_s} s: redo the stage that made it with --force.")


def _with_overlapped_clusters(analysis: SpeakerAnalysis, diarization: Diarization) -> SpeakerAnalysis:
    """Add the clusters that have no exclusive turn, and so no voice embedding and no words."""
    known = {cluster.cluster for cluster in analysis.clusters}
    added = []
    for name in sorted(_clusters(diarization.turns) - known):
        turns = [turn for turn in diarization.turns if turn.cluster == name]
        added.append(
            Cluster(
                cluster=name,
                speech_s=sum(turn.duration_s for turn in turns),
                n_turns=len(turns),
                n_voice_embeddings=0,
                speaker_variance=None,
            )
        )
    return analysis.model_copy(update={"clusters": (*analysis.clusters, *added)})


def _check_references(exclusive_turns: tuple[Turn, ...], analysis: SpeakerAnalysis, chunks: Chunks) -> None:
    clusters = {cluster.cluster for cluster in analysis.clusters}
    if len(clusters) != len(analysis.clusters):
        raise BadInputError("The speaker analysis names a cluster twice: do identify_speakers again with --force.")
    users: tuple[tuple[str, set[str]], ...] = (
        ("diarization", _clusters(exclusive_turns)),
        ("list of embedded turns", _clusters(analysis.embedded_turns)),
        ("list of utterances", {utterance.cluster for utterance in analysis.utterances}),
        ("list of chunks", {cluster for chunk in chunks.chunks for cluster in chunk.clusters}),
    )
    for name, used in users:
        if unknown := sorted(used - clusters):
            raise BadInputError(
                f"The {name} names {unknown[0]!r}, which the speaker analysis does not know: "
                "do identify_speakers again with --force."
            )
    n_utterances = len(analysis.utterances)
    if [utterance.index for utterance in analysis.utterances] != list(range(n_utterances)):
        raise BadInputError("The utterances are not numbered from 0: do identify_speakers again with --force.")
    if [chunk.index for chunk in chunks.chunks] != list(range(len(chunks.chunks))):
        raise BadInputError("The chunks are not numbered from 0: do embed_text again with --force.")
    for chunk in chunks.chunks:
        if not 0 <= chunk.first_utterance <= chunk.last_utterance < n_utterances:
            raise BadInputError(
                f"Chunk {chunk.index} has utterances {chunk.first_utterance} to {chunk.last_utterance}, but there are "
                f"{n_utterances}: do embed_text again with --force."
            )


def _clusters(turns: Iterable[Turn]) -> set[str]:
    return {turn.cluster for turn in turns}


def _text_embeddings(artifact: Artifact | None, chunks: Chunks) -> Vectors | None:
    if artifact is None or not chunks.chunks:
        return None
    vectors = _load(artifact, artifact.folder / "text_embeddings.npy")
    return _checked(artifact, "text_embeddings", vectors, len(chunks.chunks), [True] * len(chunks.chunks))


def _voice_embeddings(artifact: Artifact | None, analysis: SpeakerAnalysis) -> tuple[Vectors | None, Vectors | None]:
    if artifact is None or not analysis.clusters:
        return None, None
    path = artifact.folder / "voice_embeddings.npz"
    # A cluster too short for a voice embedding has a row that means nothing.
    embedded = [cluster.n_voice_embeddings > 0 for cluster in analysis.clusters]
    clusters = _checked(artifact, "clusters", _load(artifact, path, "clusters"), len(embedded), embedded)
    if not any(embedded):
        return None, None
    n_turns = len(analysis.embedded_turns)
    turns = _checked(artifact, "turns", _load(artifact, path, "turns"), n_turns, [True] * n_turns)
    if n_turns and clusters.shape[1] != turns.shape[1]:
        raise BadInputError(
            f"The voice embeddings of clusters have {clusters.shape[1]} dimensions, those of turns "
            f"{turns.shape[1]}: {_redo(artifact)}."
        )
    return clusters, (turns if n_turns else None)


def _load(artifact: Artifact, path: Path, key: str | None = None) -> npt.NDArray[np.generic]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if key is None:
            if not isinstance(loaded, np.ndarray):
                raise ValueError("an archive of arrays, not an array")
            return loaded
        with loaded:
            array: npt.NDArray[np.generic] = loaded[key]
            return array
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise BadInputError(f"{path} cannot be read ({error}): {_redo(artifact)}.") from error


def _checked(
    artifact: Artifact, name: str, array: npt.NDArray[np.generic], n_rows: int, embedded: list[bool]
) -> Vectors:
    if array.ndim != 2 or array.shape[0] != n_rows or (any(embedded) and array.shape[1] == 0):
        raise BadInputError(
            f"{name} of {artifact.folder} has the shape {array.shape}, but there are {n_rows} rows to embed: "
            f"{_redo(artifact)}."
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise BadInputError(f"{name} of {artifact.folder} holds {array.dtype}, not numbers: {_redo(artifact)}.")
    vectors = array.astype(np.float32)
    norms = np.linalg.norm(vectors[np.asarray(embedded, dtype=bool)].astype(np.float64), axis=1)
    # Not "any is off": a norm that is not a number compares false with everything.
    if not np.all(np.abs(norms - 1) <= _NORM_TOLERANCE):
        raise BadInputError(
            f"{name} of {artifact.folder} holds vectors that are not numbers or not of length 1: {_redo(artifact)}."
        )
    return vectors
