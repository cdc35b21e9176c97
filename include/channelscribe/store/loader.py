"""Load one video into the archive: all of it or nothing, and only what differs from what is there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from channelscribe.channels.source import normalise_channel
from channelscribe.contracts import Manifest, Word
from channelscribe.errors import BadInputError, TryAgainError
from channelscribe.profiles import Profile
from channelscribe.store.artifacts import VideoRecord, read_record
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.store.languages import text_config
from channelscribe.store.listed import record_date
from channelscribe.store.models import EmbeddingModel, register_model
from channelscribe.store.speakers.labels import label_videos, lock_voices, read_identifier, warn_without_operating_point
from channelscribe.store.speakers.names import drop_discovered, lock_video, named_clusters, set_names, turns_differ
from channelscribe.store.staging import Row, Table, clean, merge, stage
from channelscribe.workspace import Workspace

VIDEOS = Table(
    "videos",
    ("video_id",),
    (
        "channel_id", "source_id", "url", "title", "published_at", "audio_s", "codec",
        "language", "text_config", "word_timing", "speech_s", "covered_s",
    ),
)  # fmt: skip
# The speakers of clusters and utterances are set afterwards: they come from the archive, not from the artifacts.
CLUSTERS = Table("clusters", ("video_id", "cluster"), ("speech_s", "n_turns", "n_voice_embeddings", "speaker_variance"))
TURNS = Table("turns", ("video_id", "exclusive", "turn_index"), ("start_s", "end_s", "cluster"))
UTTERANCES = Table(
    "utterances", ("video_id", "utterance_index"), ("cluster", "start_s", "end_s", "text", "words", "suspicions")
)
CHUNKS = Table(
    "chunks",
    ("video_id", "chunk_index"),
    ("first_utterance", "last_utterance", "start_s", "end_s", "clusters", "n_tokens", "text", "text_config"),
)
TEXT_EMBEDDINGS = Table("text_embeddings", ("video_id", "chunk_index", "model_id"), ("embedding",), scope="model_id")
CLUSTER_EMBEDDINGS = Table(
    "cluster_voice_embeddings", ("video_id", "cluster", "model_id"), ("embedding",), scope="model_id"
)
TURN_EMBEDDINGS = Table(
    "turn_voice_embeddings",
    ("video_id", "embedded_turn_index", "model_id"),
    ("cluster", "start_s", "end_s", "embedding"),
    scope="model_id",
)
STAGE_RUNS = Table(
    "stage_runs",
    ("video_id", "stage"),
    (
        "fingerprint", "profile", "engine", "model", "revision", "parameters", "device_requested", "device_used",
        "empty", "audio_s", "total_s", "processing_s", "peak_memory_bytes", "metrics", "channelscribe_version",
        "finished_at",
    ),
)  # fmt: skip

_WORDS = TypeAdapter(tuple[Word, ...])

# The parts of a manifest's time that do not overlap; the others are within `total`.
TOTAL_PARTS = ("container", "start", "import", "load", "total")


@dataclass(frozen=True)
class LoadResult:
    """What the archive now holds of a video, and whether this load changed any of it."""

    video_id: str
    changed: bool
    n_clusters: int
    n_turns: int
    n_utterances: int
    n_chunks: int


def load_video(
    connection: Connection, workspace: Workspace, video_id: str, profile: Profile, ingest_run_id: str | None = None
) -> LoadResult:
    """Load what the profile's stages made of a video, and identify its voices, in one transaction.

    Loading the same artifacts twice writes no row. Rows that the artifacts no longer have are deleted. Vectors of
    other models stay as long as what they were made of does (of a video's chunks, all or none); names that a person
    gave to clusters stay as long as a cluster is there that overlaps theirs.

    Args:
        connection: to a migrated archive, outside a transaction.
        workspace: holds the artifacts.
        video_id: which video.
        profile: names the artifacts' engines and models.
        ingest_run_id: the run that is noted if anything changes.

    Raises:
        BadInputError: an artifact is broken, or contradicts another one or the archive.
        MisconfiguredError: a stage is yet to be done, or the archive is not migrated.
        TryAgainError: the database went away.
    """
    record = read_record(workspace, video_id, profile)
    with errors_in_words():
        text_model, voice_model = _register_models(connection, record, profile)
        with connection, connection.cursor() as cursor:
            lock_voices(cursor, exclusive=False)
            _require_models(cursor, text_model, voice_model)
            lock_video(cursor, video_id)
            n_changed = _merge_record(cursor, record, text_model, voice_model)
            n_changed += _identify(cursor, video_id, profile)
            if n_changed:
                _note_change(cursor, video_id, ingest_run_id)
            record_date(cursor, record.video)
    return LoadResult(
        video_id=video_id,
        changed=bool(n_changed),
        n_clusters=len(record.analysis.clusters),
        n_turns=len(record.diarization.turns),
        n_utterances=len(record.analysis.utterances),
        n_chunks=len(record.chunks.chunks),
    )


def _register_models(
    connection: Connection, record: VideoRecord, profile: Profile
) -> tuple[EmbeddingModel | None, EmbeddingModel | None]:
    text, voice = profile.stages["embed_text"], profile.stages["identify_speakers"]
    texts, voices = record.text_embeddings, record.cluster_embeddings
    return (
        None if texts is None else register_model(connection, "text", text.model, text.revision, texts.shape[1]),
        None if voices is None else register_model(connection, "voice", voice.model, voice.revision, voices.shape[1]),
    )


def _require_models(cursor: Cursor, *models: EmbeddingModel | None) -> None:
    """Refuse to go on where somebody removed a model since it was registered."""
    wanted = [model.model_id for model in models if model]
    cursor.execute("SELECT FROM embedding_models WHERE model_id = ANY(%s) FOR KEY SHARE", (wanted,))
    if cursor.rowcount != len(wanted):
        raise TryAgainError("A text model was removed from the archive just now: load the video again.")


def rows_by_table(
    cursor: Cursor, record: VideoRecord, text_model: EmbeddingModel | None, voice_model: EmbeddingModel | None
) -> Iterator[tuple[Table, Iterable[Row]]]:
    """All rows of a video, parents before children. Its channel is made, if it is new."""
    config = text_config(record.transcript.language if record.transcript else None)
    yield VIDEOS, [_video_row(record, _channel(cursor, record), config)]
    yield CLUSTERS, _cluster_rows(record)
    yield TURNS, _turn_rows(record)
    yield UTTERANCES, _utterance_rows(record)
    yield CHUNKS, _chunk_rows(record, config)
    yield STAGE_RUNS, map(_stage_run_row, record.manifests)
    if text_model:
        yield TEXT_EMBEDDINGS, _text_embedding_rows(record, text_model)
    if voice_model:
        yield CLUSTER_EMBEDDINGS, _cluster_embedding_rows(record, voice_model)
        yield TURN_EMBEDDINGS, _turn_embedding_rows(record, voice_model)


def _merge_record(
    cursor: Cursor, record: VideoRecord, text_model: EmbeddingModel | None, voice_model: EmbeddingModel | None
) -> int:
    video_id = record.video.video_id
    # Parents before children: a parent's deletion takes its children with it, and they are made anew.
    tables = []
    for table, rows in rows_by_table(cursor, record, text_model, voice_model):
        stage(cursor, table, rows)
        tables.append(table)
    turns_changed = turns_differ(cursor, video_id)
    named = named_clusters(cursor, video_id, turns_changed=turns_changed)
    n_changed = drop_discovered(cursor, video_id) if turns_changed else 0
    n_changed += _delete_stale_embeddings(cursor, video_id, text_model, voice_model, turns_changed=turns_changed)
    for table in tables:
        model = text_model if table is TEXT_EMBEDDINGS else voice_model
        n_changed += merge(cursor, table, video_id, model.model_id if model and table.scope else None)
    return n_changed + set_names(cursor, video_id, named)


def _identify(cursor: Cursor, video_id: str, profile: Profile) -> int:
    """Name the video's voices by the voices enrolled with the profile's model; returns how many rows that changed."""
    spec = profile.stages["identify_speakers"]
    identifier = read_identifier(cursor, (spec.model, spec.revision))
    warn_without_operating_point(identifier, (spec.model, spec.revision))
    return label_videos(cursor, [video_id], identifier).n_rows


def _channel(cursor: Cursor, record: VideoRecord) -> int:
    # What was fetched long ago may have an older form of the channel's URL.
    url, title = clean(normalise_channel(record.video.channel_url)), clean(record.video.channel_title)
    cursor.execute("INSERT INTO channels (url, title) VALUES (%s, %s) ON CONFLICT (url) DO NOTHING", (url, title))
    cursor.execute("UPDATE channels SET title = %s WHERE url = %s AND title <> %s", (title, url, title))
    cursor.execute("SELECT channel_id FROM channels WHERE url = %s", (url,))
    row = cursor.fetchone()
    if row is None:
        raise BadInputError(f"The channel {url} was deleted while its video was loaded: clear the task.")
    return int(row[0])


def _delete_stale_embeddings(
    cursor: Cursor,
    video_id: str,
    text_model: EmbeddingModel | None,
    voice_model: EmbeddingModel | None,
    *,
    turns_changed: bool,
) -> int:
    """Delete the vectors of other models that were made of text or turns which are no longer there.

    A model has text embeddings of all chunks of a video or of none: search asks each video by one model.
    """
    cursor.execute(
        "DELETE FROM text_embeddings WHERE video_id = %(id)s AND model_id IS DISTINCT FROM %(model)s AND EXISTS ("
        "SELECT FROM (SELECT chunk_index, text FROM chunks WHERE video_id = %(id)s) c "
        "FULL JOIN staging_chunks s USING (chunk_index) WHERE c.text IS DISTINCT FROM s.text)",
        {"id": video_id, "model": text_model.model_id if text_model else None},
    )
    n_deleted = cursor.rowcount
    if turns_changed:
        for table in (CLUSTER_EMBEDDINGS, TURN_EMBEDDINGS):
            cursor.execute(
                f"DELETE FROM {table.name} WHERE video_id = %s AND model_id IS DISTINCT FROM %s",  # noqa: S608
                (video_id, voice_model.model_id if voice_model else None),
            )
            n_deleted += cursor.rowcount
    return n_deleted


def _note_change(cursor: Cursor, video_id: str, ingest_run_id: str | None) -> None:
    if ingest_run_id:
        cursor.execute(
            "INSERT INTO ingest_runs (run_id, state) VALUES (%s, 'running') ON CONFLICT (run_id) DO NOTHING",
            (ingest_run_id,),
        )
    cursor.execute(
        "UPDATE videos SET loaded_at = now(), ingest_run_id = coalesce(%s, ingest_run_id) WHERE video_id = %s",
        (ingest_run_id, video_id),
    )


def _video_row(record: VideoRecord, channel_id: int, config: str) -> Row:
    video, transcript = record.video, record.transcript
    return (
        video.video_id, channel_id, video.source_id, video.url, video.title, video.published_at,
        record.audio.duration_s, record.audio.codec,
        transcript.language if transcript else None, config, transcript.word_timing if transcript else None,
        transcript.speech_s if transcript else 0.0, transcript.covered_s if transcript else 0.0,
    )  # fmt: skip


def _cluster_rows(record: VideoRecord) -> Iterator[Row]:
    for cluster in record.analysis.clusters:
        yield (
            record.video.video_id, cluster.cluster, cluster.speech_s, cluster.n_turns, cluster.n_voice_embeddings,
            cluster.speaker_variance,
        )  # fmt: skip


def _turn_rows(record: VideoRecord) -> Iterator[Row]:
    for exclusive, turns in ((False, record.diarization.turns), (True, record.diarization.exclusive_turns)):
        for index, turn in enumerate(turns):
            yield record.video.video_id, exclusive, index, turn.start_s, turn.end_s, turn.cluster


def _utterance_rows(record: VideoRecord) -> Iterator[Row]:
    for utterance in record.analysis.utterances:
        words: object = _WORDS.dump_json(utterance.words).decode()
        if r"\u0000" in str(words):
            words = [word.model_dump() for word in utterance.words]  # slower, and staging takes that character out
        yield (
            record.video.video_id, utterance.index, utterance.cluster, utterance.start_s, utterance.end_s,
            utterance.text, words, utterance.suspicions,
        )  # fmt: skip


def _chunk_rows(record: VideoRecord, config: str) -> Iterator[Row]:
    for chunk in record.chunks.chunks:
        yield (
            record.video.video_id, chunk.index, chunk.first_utterance, chunk.last_utterance, chunk.start_s,
            chunk.end_s, chunk.clusters, chunk.n_tokens, chunk.text, config,
        )  # fmt: skip


def _text_embedding_rows(record: VideoRecord, model: EmbeddingModel) -> Iterator[Row]:
    vectors = record.text_embeddings
    if vectors is not None:
        for chunk, vector in zip(record.chunks.chunks, vectors, strict=True):
            yield record.video.video_id, chunk.index, model.model_id, vector


def _cluster_embedding_rows(record: VideoRecord, model: EmbeddingModel) -> Iterator[Row]:
    vectors = record.cluster_embeddings
    if vectors is not None:
        # Clusters that only speak over others stand behind those that have a row.
        for cluster, vector in zip(record.analysis.clusters, vectors, strict=False):
            if cluster.n_voice_embeddings:
                yield record.video.video_id, cluster.cluster, model.model_id, vector


def _turn_embedding_rows(record: VideoRecord, model: EmbeddingModel) -> Iterator[Row]:
    vectors = record.turn_embeddings
    if vectors is not None:
        for index, (turn, vector) in enumerate(zip(record.analysis.embedded_turns, vectors, strict=True)):
            yield record.video.video_id, index, model.model_id, turn.cluster, turn.start_s, turn.end_s, vector


def _stage_run_row(manifest: Manifest) -> Row:
    return (
        manifest.video_id, manifest.stage, manifest.fingerprint, manifest.profile, manifest.engine, manifest.model,
        manifest.revision, manifest.parameters, manifest.device_requested, manifest.device_used, manifest.empty,
        manifest.audio_s, sum(manifest.processing_s.get(part, 0.0) for part in TOTAL_PARTS), manifest.processing_s,
        manifest.peak_memory_bytes, manifest.metrics, manifest.channelscribe_version, manifest.finished_at,
    )  # fmt: skip
