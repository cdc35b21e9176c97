"""The typed things that cross a boundary between stages, the workspace, the archive and Airflow.

Times are seconds from the start of the audio, as floats, in fields that end in ``_s``. Every class is
frozen and refuses unknown fields, so that an artifact of another schema is noticed where it is read.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Contract(BaseModel):
    """Base of all contracts: immutable, strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Video(Contract):
    """One item of a channel, as polling found it; ``video_id`` is safe as a folder name and unique."""

    video_id: str = Field(pattern=r"^[a-z0-9][A-Za-z0-9_-]{0,99}$")
    source_id: str
    url: str
    title: str
    channel_url: str
    channel_title: str
    published_at: datetime | None = None
    duration_s: float | None = None
    language: str | None = None
    """Code of the language that its channel's options say it is in; None leaves it to the recogniser."""


Availability = Literal[
    "public", "upcoming", "live", "private", "members_only", "removed", "age_restricted", "geo_restricted", "unusable"
]
"""Whether the site hands an item out: to all; not yet, as it is a premiere to come, or live, or a recording that is not
complete; only to some; or no more. Or it does, and what it hands out is of no use: too long, damaged, without sound."""


Kind = Literal["video", "short", "recording"]
"""What an item is: a video, a YouTube short, or the recording of a live stream."""


class ListedVideo(Contract):
    """An item as a channel's listing shows it."""

    video: Video
    kind: Kind = "video"
    availability: Availability = "public"
    reason: str | None = None


class Audio(Contract):
    """What ``fetch_audio`` kept of a video: one file in the channel's own codec, known to decode."""

    file_name: str
    codec: str
    sample_rate_hz: int
    n_channels: int
    duration_s: float


class Turn(Contract):
    """A span in which one cluster speaks: a line of an RTTM file."""

    start_s: float
    end_s: float
    cluster: str

    @property
    def duration_s(self) -> float:
        """Length of the turn in seconds."""
        return self.end_s - self.start_s


class Diarization(Contract):
    """Who speaks when, as clusters. ``turns`` may overlap; ``exclusive_turns`` never do.

    Both are sorted by start. Words are paired with ``exclusive_turns``.
    """

    turns: tuple[Turn, ...]
    exclusive_turns: tuple[Turn, ...]
    audio_s: float


class Word(Contract):
    """A token with its time; ``probability`` is the recogniser's, where it gives one."""

    text: str
    start_s: float
    end_s: float
    probability: float | None = None


Suspicion = Literal["no_speech", "repetition", "low_probability", "other_language", "missing_text"]
"""Why a text may be wrong: nobody speaks there, it repeats itself, the recogniser was unsure, it is in another language
than the video's, or speech beside it got no text."""


class Segment(Contract):
    """A span of text from speech recognition, with its words in order, and why it may be wrong, if so."""

    start_s: float
    end_s: float
    words: tuple[Word, ...]
    suspicions: tuple[Suspicion, ...] = ()

    @property
    def text(self) -> str:
        """The words, joined by spaces."""
        return " ".join(word.text for word in self.words)


class Span(Contract):
    """A stretch of audio."""

    start_s: float
    end_s: float


class Transcript(Contract):
    """What was said, without speakers.

    ``word_timing`` is ``aligned`` where the recogniser measured each word's time, and ``interpolated``
    where only the segment's ends were measured and its words share the time by their length: a word is
    then right to within a few words of its segment, and never outside it.

    ``speech_s`` is the speech that diarization found, ``covered_s`` the part of it that got text, and
    ``speech_without_text`` the stretches of one second or more that got none: farther than a second from any word where
    words are aligned, else regions without any.

    ``language`` is an ISO 639 code, ``und`` where nothing was heard; ``language_probability`` is None where it was not
    detected, but is the only one that the recogniser knows, or the one that the channel's options name.
    """

    language: str
    language_probability: float | None = None
    word_timing: Literal["aligned", "interpolated"]
    segments: tuple[Segment, ...]
    speech_s: float
    covered_s: float
    speech_without_text: tuple[Span, ...]

    @property
    def coverage(self) -> float | None:
        """Share of the speech that got text, or None where there was no speech."""
        return self.covered_s / self.speech_s if self.speech_s else None


class Cluster(Contract):
    """A speaker within one video.

    ``speaker_variance`` is the spread of the cluster's voice embeddings (see ``speakers.variance``), None
    where fewer than two could be taken. Whose voice it is, is decided in the archive, where people are enrolled.
    """

    cluster: str
    speech_s: float
    n_turns: int
    n_voice_embeddings: int
    speaker_variance: float | None


class Utterance(Contract):
    """Consecutive words of one turn's cluster: what people read and what is loaded.

    ``suspicions`` are those of the segments that its words come from.
    """

    index: int
    cluster: str
    start_s: float
    end_s: float
    words: tuple[Word, ...]
    suspicions: tuple[Suspicion, ...] = ()

    @property
    def text(self) -> str:
        """The words, joined by spaces."""
        return " ".join(word.text for word in self.words)


class SpeakerAnalysis(Contract):
    """Result of ``identify_speakers``; the arrays lie beside it in ``voice_embeddings.npz``.

    That file holds ``clusters`` (n_clusters, dim) and ``turns`` (n_embedded_turns, dim), both float32 and
    L2-normalised, in the order of ``clusters`` and ``embedded_turns`` here.
    """

    clusters: tuple[Cluster, ...]
    embedded_turns: tuple[Turn, ...]
    utterances: tuple[Utterance, ...]


class EnrollmentClip(Contract):
    """A recording of a known voice, and whether it is good enough to know the voice by.

    ``refused`` is the reason for people, None where it was accepted. ``snr_db`` is None where it could not be told.
    """

    source: str
    sha256: str
    audio_s: float
    speech_s: float
    snr_db: float | None
    refused: str | None


class EnrollmentVoices(Contract):
    """Voice embeddings of the clips of one voice.

    Row i of ``voice_embeddings.npy`` beside it, (n, dim) float32 and L2-normalised, is of the clip
    ``clips[rows[i].clip_index]``, from ``start_s`` to ``end_s``.
    """

    model: str
    revision: str
    clips: tuple[EnrollmentClip, ...]
    rows: tuple["EnrollmentRow", ...]


class EnrollmentRow(Contract):
    """The stretch of a clip that one voice embedding was taken from."""

    clip_index: int
    start_s: float
    end_s: float


class Calibration(Contract):
    """What labelled clips say of a voice model: how often it errs, and where to draw the line.

    Scores are cosine similarities. ``eer`` is the equal error rate over ``n_target`` comparisons of one voice with
    itself and ``n_impostor`` with others; ``false_accept_rate`` is that at ``threshold``. A best score below
    ``threshold``, or less than ``margin`` above the runner-up's, names nobody. A cluster whose speaker variance is
    above ``max_variance`` mixes voices. Unknown voices of different videos whose similarity is ``same_voice`` on
    average are one.
    """

    model: str
    revision: str
    n_speakers: int
    n_target: int
    n_impostor: int
    eer: float
    false_accept_rate: float
    threshold: float
    margin: float
    max_variance: float
    same_voice: float


class Chunk(Contract):
    """One or more consecutive utterances embedded together for search, or a part of a very long one."""

    index: int
    first_utterance: int
    last_utterance: int
    start_s: float
    end_s: float
    clusters: tuple[str, ...]
    text: str
    n_tokens: int


class Chunks(Contract):
    """Result of ``embed_text``; row i of ``text_embeddings.npy`` (n_chunks, dim) belongs to chunk i.

    The embeddings are float32 and L2-normalised.
    """

    chunks: tuple[Chunk, ...]


class OutputFile(Contract):
    """Size and digest of one file of an artifact."""

    n_bytes: int
    sha256: str


class GpuSample(Contract):
    """What one GPU was doing over some seconds of a stage's work, as NVML tells it: the whole GPU, whoever uses it.

    A figure that the GPU does not give is None. Of samples that were merged, ``sm_percent`` and ``power_w`` are
    means, ``vram_percent`` and ``temperature_c`` the highest.

    Args:
        at_s: end of the sample, in seconds since the work began.
        span_s: seconds that it stands for.
        sm_percent: share of the time in which at least one kernel ran.
        vram_percent: share of the GPU's memory that is taken.
        temperature_c: of the chip, in degrees Celsius.
        power_w: watts drawn.
    """

    at_s: float
    span_s: float
    sm_percent: float | None
    vram_percent: float | None
    temperature_c: float | None
    power_w: float | None


class Manifest(Contract):
    """Written last into an artifact folder: its presence says that the artifact is whole.

    ``fingerprint`` names the folder and covers engine, model, revision, parameters and the ``digest`` of every
    input. ``digest`` covers the content of the outputs, so that a re-run with equal outputs leaves later stages valid.
    ``processing_s`` splits the time by part: ``container`` (until the process began, where a container was made),
    ``start`` (until the stage's first line), ``import`` and ``load`` of the engine, all of which the videos of a call
    share and the first one carries; ``total`` of the work; and within it what the stage itself names.
    ``image`` is the id of the container's image. Where ``gpu_samples`` is None, ``gpu_unavailable`` says why.
    ``published_at`` is when the item was published by its own page, where that told ``fetch_audio``; listings guess.
    It is here and in no output, as it says nothing of the sound that later stages work on.
    """

    schema_version: int = SCHEMA_VERSION
    channelscribe_version: str
    stage: str
    stage_version: int
    profile: str
    video_id: str
    fingerprint: str
    digest: str
    engine: str
    model: str
    revision: str
    parameters: dict[str, str | int | float | bool]
    inputs: dict[str, str]
    outputs: dict[str, OutputFile]
    empty: bool
    device_requested: str
    device_used: str
    audio_s: float
    processing_s: dict[str, float]
    peak_memory_bytes: int
    gpu_samples: tuple[GpuSample, ...] | None = None
    gpu_unavailable: str | None = None
    image: str | None = None
    metrics: dict[str, float | None]
    published_at: datetime | None = None
    finished_at: datetime


class Status(Contract):
    """How a stage last ended for one video, with the sentence that a person reads in the UI."""

    video_id: str
    stage: str
    state: Literal["running", "done", "present", "empty", "failed"]
    exit_code: int | None
    reason: str
    at: datetime
    availability: Availability | None = None
    """What the site said of the item where that is why it failed."""
    rate_limited: bool = False
    """It failed as the site asks for patience, with the whole channel."""
    took_s: float | None = None
    """Seconds that it took, where that is in no manifest."""
    again: bool = False
    """Its result, if there is one, is of an earlier time, and is to be made again: until it ends well."""


class Progress(Contract):
    """What a stage is doing with one video: written anew every few seconds, and gone when it is done with it.

    ``part`` is the part of the work that it is in, or ``start`` while the program starts and loads its model.
    ``elapsed_s`` are the seconds since it took the video on, ``work_s`` those since the model is there, ``start_up_s``
    those that the program's start took, so far or in all (0 for the later videos of a call). ``device_used`` is None
    until the model is there. Of ``elapsed_s``, its threads computed ``cpu_s``, and could have computed and waited for a
    core ``cpu_wait_s`` (both summed over the threads; None where the kernel does not say). ``gpu_busy_share`` is that
    of the whole GPU over the last ``gpu_span_s`` seconds, between 0 and 1, None without a sample.
    """

    part: str
    at: datetime
    elapsed_s: float
    work_s: float
    start_up_s: float
    device_requested: str
    device_used: str | None
    cpu_s: float
    cpu_wait_s: float | None
    gpu_busy_share: float | None
    gpu_span_s: float


class Query(Contract):
    """Words that somebody searches for, and the text model whose vector of them is asked for."""

    model: str
    revision: str
    words: str
