"""What several runs say together: the slowest videos, failures by reason, and what is still to be done."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from channelscribe.failure_reasons import Reason, reason_of
from channelscribe.store.connection import Connection, errors_in_words
from channelscribe.store.runs.reports import RunRecord
from channelscribe.telemetry.run_times import PARTS, VideoTime

_WORK = " + ".join(f"coalesce({part}_s, 0)" for part in PARTS if part != "waiting")
_MOST_FAILURES = 2000


@dataclass(frozen=True)
class SlowVideo:
    """A video that took long for its length.

    Args:
        run_id: the run that it was in.
        time: where its time went.
    """

    run_id: str
    time: VideoTime

    @property
    def rtfx(self) -> float:
        """Its seconds of audio / seconds in which something was done for it."""
        return (self.time.audio_s or 0.0) / self.time.worked_s

    @property
    def longest(self) -> str:
        """The part that took most of them."""
        return max((part for part in self.time.seconds if part != "waiting"), key=self.time.seconds.__getitem__)


@dataclass(frozen=True)
class Failure:
    """One failure of a run.

    Args:
        run_id: the run.
        task: id of the task that failed, without its group.
        map_index: its map index; None of a task that has none, or where that is not known.
        what: the video's title, or the channel, or else the task.
        sentence: why.
    """

    run_id: str
    task: str
    map_index: int | None
    what: str
    sentence: str


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one reason.

    Args:
        name: the reason's words, or, of one that is not known, its sentence.
        reason: what is known of it.
        number: how many failures.
        latest: the latest of them.
        task: the task that most of them failed in.
    """

    name: str
    reason: Reason | None
    number: int
    latest: Failure
    task: str


@dataclass(frozen=True)
class Backlog:
    """What a channel lists that can be had and is not in the archive, whether or not its options ask for it.

    Args:
        url: of the channel.
        title: its title.
        n_videos: how many.
        audio_s: their length, as far as the listing says it.
        n_without_length: videos whose length it does not say.
    """

    url: str
    title: str
    n_videos: int
    audio_s: float
    n_without_length: int


def slowest_videos(connection: Connection, runs: Sequence[RunRecord], limit: int = 10) -> list[SlowVideo]:
    """The loaded videos of some runs for which most work was done by their length, without waiting; slowest first."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT run_id, video_id, title, map_index, audio_s, {', '.join(f'{part}_s' for part in PARTS)} "  # noqa: S608
            f"FROM run_videos WHERE run_id = ANY(%s) AND failed_stage IS NULL AND audio_s > 0 AND {_WORK} > 0 "
            f"ORDER BY ({_WORK}) / audio_s DESC, run_id, place LIMIT %s",
            ([run.run_id for run in runs], limit),
        )
        rows = cursor.fetchall()
    result = []
    for run_id, video_id, title, map_index, audio_s, *values in rows:
        seconds = {part: value for part, value in zip(PARTS, values, strict=True) if value is not None}
        result.append(SlowVideo(run_id, VideoTime(video_id, title, map_index, audio_s, seconds)))
    return result


def batches_in_report(connection: Connection, run: RunRecord) -> list[list[str]]:
    """The ids of the videos of a run that has ended, by the map index of their tasks."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute("SELECT map_index, video_id FROM run_videos WHERE run_id = %s ORDER BY place", (run.run_id,))
        rows = cursor.fetchall()
    batches: list[list[str]] = [[] for _ in range(max((index for index, _ in rows), default=-1) + 1)]
    for index, video_id in rows:
        batches[index].append(video_id)
    return batches


def failures(connection: Connection, runs: Sequence[RunRecord]) -> list[Failure]:
    """All that failed in some runs, in the order of the runs."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, failed_stage, map_index, title, reason FROM run_videos "
            "WHERE run_id = ANY(%s) AND failed_stage IS NOT NULL ORDER BY run_id, place LIMIT %s",
            ([run.run_id for run in runs], _MOST_FAILURES),
        )
        videos: dict[str, list[Failure]] = {}
        for run_id, stage, map_index, title, reason in cursor:
            videos.setdefault(run_id, []).append(Failure(run_id, stage, map_index, title, reason))
    return [failure for run in runs for failure in (*_of_tasks(run), *videos.get(run.run_id, ()))]


def group_failures(found: Iterable[Failure]) -> list[FailureGroup]:
    """Failures by reason, the most frequent first."""
    groups: dict[str, list[Failure]] = {}
    for failure in found:
        reason = reason_of(failure.sentence)
        groups.setdefault(reason.name if reason else failure.sentence, []).append(failure)
    result = []
    for name, members in groups.items():
        ((task, _),) = Counter(failure.task for failure in members).most_common(1)
        result.append(FailureGroup(name, reason_of(members[0].sentence), len(members), members[0], task))
    return sorted(result, key=lambda group: -group.number)


def backlog(connection: Connection) -> list[Backlog]:
    """What the followed channels list and the archive does not have, most first."""
    with errors_in_words(), connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.url, c.title, count(*), coalesce(sum(l.duration_s), 0), "
            "count(*) FILTER (WHERE l.duration_s IS NULL) FROM channels c JOIN channel_items i USING (channel_id) "
            "JOIN listed_videos l USING (video_id) WHERE c.followed AND NOT c.paused AND l.availability = 'public' "
            "AND NOT EXISTS (SELECT FROM videos v WHERE v.video_id = l.video_id) "
            "GROUP BY c.channel_id ORDER BY 3 DESC, 1"
        )
        return [Backlog(*row) for row in cursor]


def _of_tasks(run: RunRecord) -> Iterable[Failure]:
    """Failures of a run that no video stands for."""
    for channel, reason in run.failed_channels.items():
        yield Failure(run.run_id, "poll_channels", None, channel, reason)
    if run.failed_discovery is not None:
        yield Failure(run.run_id, "discover_speakers", -1, "discover_speakers", run.failed_discovery)
    if run.state == "failed" and run.profile is None and run.summary:
        task, _, sentence = run.summary.partition(" failed: ")
        yield Failure(run.run_id, task, -1, task, sentence or run.summary)
