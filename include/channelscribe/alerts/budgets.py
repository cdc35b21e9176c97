"""How long a stage may take before it counts as slow: what it usually takes for so much audio, times a factor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from channelscribe.batches import GUESSED_MINUTES
from channelscribe.contracts import Audio
from channelscribe.errors import ChannelscribeError
from channelscribe.profiles import Profile
from channelscribe.workspace import Workspace

# Of a few seconds of audio nearly all is chance: nothing counts as slow before.
LEAST_S = 30.0


@dataclass(frozen=True)
class Usual:
    """What a stage usually takes with one profile.

    Args:
        work_s_per_min: seconds of work for a minute of audio, the median over its last videos.
        start_s: seconds until the work begins, the median over the calls that had to start something.
        n_videos: videos that this was learned from; 0 where it is the profile's own figure.
        bytes_per_s: median rate of its downloads, or None where it makes none, or none is known.
    """

    work_s_per_min: float
    start_s: float
    n_videos: int = 0
    bytes_per_s: float | None = None


@dataclass(frozen=True)
class Budget:
    """The seconds after which a call of a stage is slow, and how they came about, for people."""

    seconds: float
    reason: str


def usual_of(profile: Profile, stage: str, learned: Mapping[str, Usual]) -> Usual:
    """What a stage usually takes: what was learned from past runs, or else the profile's own figures."""
    spec = profile.stages[stage]
    return learned.get(stage) or Usual(spec.work_s_per_min, spec.start_s)


def budget_of(audio_s: float, usual: Usual, factor: float) -> Budget:
    """The budget of one call of a stage.

    Args:
        audio_s: seconds of audio in all of its videos.
        usual: what the stage usually takes.
        factor: how many times its usual time the work may take.
    """
    seconds = audio_s / 60 * usual.work_s_per_min * factor + usual.start_s
    source = f"the median of {usual.n_videos} before" if usual.n_videos else "the profile's figure, as there are none"
    reason = (
        f"{duration(audio_s)} of audio at {usual.work_s_per_min:.3g} s a minute ({source}), times {factor:g}, "
        f"and {usual.start_s:.3g} s to start"
    )
    if seconds < LEAST_S:
        return Budget(LEAST_S, f"{reason}; {LEAST_S:g} s at the least")
    return Budget(seconds, reason)


def expected_s(audio_s: float, usual: Usual) -> float:
    """Seconds that a call of a stage usually takes."""
    return audio_s / 60 * usual.work_s_per_min + usual.start_s


def audio_seconds(workspace: Workspace, video_ids: Sequence[str], profile: Profile) -> float:
    """Seconds of audio in some videos: as fetched, or else as listed, or else guessed."""
    return sum(_audio_s(workspace, video_id, profile) for video_id in video_ids)


def _audio_s(workspace: Workspace, video_id: str, profile: Profile) -> float:
    try:
        fetched = workspace.current(video_id, "fetch_audio", profile)
        if fetched:
            return fetched.read("audio.json", Audio).duration_s
        return workspace.read_video(video_id).duration_s or GUESSED_MINUTES * 60
    except (ChannelscribeError, OSError):
        return GUESSED_MINUTES * 60


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``3 min 20 s``, ``12 min``, ``2 h 05 min``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if rest and minutes < 10 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"
