"""What is known of a video when it leaves the archive: the input of every writer."""

from dataclasses import dataclass
from datetime import datetime

from channelscribe.contracts import Turn, Word


@dataclass(frozen=True)
class Voice:
    """A speaker within the video; ``name`` is None where the cluster as a whole is nobody's that is enrolled."""

    cluster: str
    name: str | None
    speech_s: float

    @property
    def label(self) -> str:
        """The name, or else the cluster."""
        return self.name or self.cluster


@dataclass(frozen=True)
class SpokenUtterance:
    """One utterance; ``speaker`` is the name of who says it, or else the cluster."""

    index: int
    cluster: str
    speaker: str
    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...]
    suspicions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """A video with all that was said in it. Names, titles and texts are as they came from outside: writers escape them.

    Args:
        video_id: its id in the archive, safe as a file name.
        title: of the video.
        url: where it is.
        channel: title of its channel.
        channel_url: where that is.
        published_at: when it appeared, if known.
        duration_s: length of its audio in seconds.
        language: ISO 639 code of what is spoken, if known.
        word_timing: ``aligned`` or ``interpolated``, as in `contracts.Transcript`; None where nothing was said.
        availability: whether the site still hands it out, as it said last; None where no poll has listed it.
        voices: the clusters, by label.
        turns: who speaks when, sorted by start; they may overlap.
        utterances: what was said, in order.
    """

    video_id: str
    title: str
    url: str
    channel: str
    channel_url: str
    published_at: datetime | None
    duration_s: float
    language: str | None
    word_timing: str | None
    availability: str | None
    voices: tuple[Voice, ...]
    turns: tuple[Turn, ...]
    utterances: tuple[SpokenUtterance, ...]
