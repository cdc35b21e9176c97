"""Which videos of the archive are done again, and what of them: the plan of the DAG reprocess. It changes nothing."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time

from channelscribe.channels.source import normalise_channel
from channelscribe.contracts import Video
from channelscribe.errors import BadInputError
from channelscribe.profiles import STAGES, Profile
from channelscribe.store.connection import Connection, Cursor, errors_in_words
from channelscribe.wording import cell, count
from channelscribe.workspace import Artifact, Workspace

# Nothing is fetched again: that would be another result of another day.
REDO_STAGES = tuple(stage for stage in STAGES if stage != "fetch_audio")

_VIDEOS = """
SELECT v.video_id, v.title, v.audio_s, c.url, c.options->>'language' FROM videos v JOIN channels c USING (channel_id)
WHERE (%(since)s::timestamptz IS NULL OR v.published_at IS NULL OR v.published_at >= %(since)s)
  AND (%(urls)s IS NULL OR c.url = ANY(%(urls)s::text[]) OR EXISTS (
      SELECT FROM channel_items i JOIN channels l USING (channel_id)
      WHERE i.video_id = v.video_id AND l.url = ANY(%(urls)s::text[])))
ORDER BY v.video_id
"""
# What made a stage's content in the archive: the artifact's fingerprint, and when it was made.
Made = Mapping[str, tuple[str, datetime]]


@dataclass(frozen=True)
class RedoRequest:
    """What a run was asked for.

    Args:
        channels: URLs or handles; all if empty.
        since: day (UTC) of publication of the oldest video. Videos without a date are kept.
        stages: stages to do again although their results are there; without any, those whose results are missing.
        done_before: leave out the videos of which all these stages were done on this day (UTC) or later.
    """

    channels: tuple[str, ...] = ()
    since: date | None = None
    stages: frozenset[str] = frozenset()
    done_before: date | None = None


@dataclass(frozen=True)
class VideoRedo:
    """One video, and what is to be done of it.

    Args:
        video: as it was polled, in the language that its channel is said to be in now.
        audio_s: its length.
        stages: what is to be done, in the order of work. Where one gives what it gave before, those that depend on it
            alone need no work after all. Empty where all is there and only has to be loaded.
        done_at: when the oldest of the stages that were asked for was done, as far as it is in the archive.
    """

    video: Video
    audio_s: float
    stages: tuple[str, ...]
    done_at: datetime | None


@dataclass(frozen=True)
class Rate:
    """How fast a stage was.

    Args:
        rtfx: audio seconds / processing seconds, as a ratio of sums.
        same_model: measured with the model and on the kind of device that the profile asks for.
    """

    rtfx: float
    same_model: bool


@dataclass(frozen=True)
class RedoPlan:
    """The videos that are done again.

    Args:
        profile: name of the profile.
        redo: the videos, those done longest ago first.
        n_channels: channels that they and the others that were looked at are of.
        n_fitting: videos of the archive that were looked at.
        n_waiting: videos that are to be done and were over the limit, or are at work in another run.
        without_audio: title and id of those whose audio is no longer there.
        rates: how fast the stages were; those that nobody knows of are missing.
    """

    profile: str
    redo: list[VideoRedo]
    n_channels: int
    n_fitting: int
    n_waiting: int = 0
    without_audio: tuple[tuple[str, str], ...] = ()
    rates: Mapping[str, Rate] = field(default_factory=dict)

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos."""
        return [one.video.video_id for one in self.redo]

    def first(self, limit: int, busy: Set[str] = frozenset()) -> "RedoPlan":
        """The same for so many videos, without those that are at work in another run."""
        redo = [one for one in self.redo if one.video.video_id not in busy][:limit]
        return replace(self, redo=redo, n_waiting=self.n_waiting + len(self.redo) - len(redo))

    @property
    def headline(self) -> str:
        """One line for people."""
        if not self.n_fitting:
            return "Nothing to redo: no video of the archive is of these channels and that age."
        if not self.redo and not self.n_waiting:
            return f"Nothing to redo with the profile {self.profile}: {count(self.n_fitting, 'video')} looked at."
        hours = sum(one.audio_s for one in self.redo) / 3600
        waiting = f", {self.n_waiting} more wait for the next run" if self.n_waiting else ""
        return f"{count(len(self.redo), 'video')} to redo with the profile {self.profile}, {hours:.1f} h{waiting}"

    def to_markdown(self) -> str:
        """What is to be done, for a log."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"# {self.headline}"
        if self.redo:
            yield from ("", *self._stage_lines(), "", "| video | id | minutes | to do |", "| --- | --- | ---: | --- |")
            for one in self.redo:
                what = ", ".join(one.stages) or "load what is there"
                yield f"| {cell(one.video.title)} | {one.video.video_id} | {one.audio_s / 60:.1f} | {what} |"
        if self.without_audio:
            yield ""
            yield "Left out, as their audio is gone (ingest them again: `channel_ingest`, their channel, `force`):"
            yield from (f"- {cell(title)} ({video_id})" for title, video_id in self.without_audio)

    def _stage_lines(self) -> Iterator[str]:
        yield "| stage | to do | present | audio h | RTFx until now | hours |"
        yield "| --- |" + " ---: |" * 5
        total, unknown = 0.0, []
        for stage in REDO_STAGES:
            to_do = [one for one in self.redo if stage in one.stages]
            hours, rate = sum(one.audio_s for one in to_do) / 3600, self.rates.get(stage)
            about = hours / rate.rtfx if rate else None
            total += about or 0.0
            if to_do and (rate is None or not rate.same_model):
                unknown.append(stage)
            rtfx = "" if rate is None else f"{rate.rtfx:.1f}{'' if rate.same_model else ' (another model)'}"
            shown = "unknown" if to_do and about is None else f"{about or 0.0:.2f}"
            yield f"| {stage} | {len(to_do)} | {len(self.redo) - len(to_do)} | {hours:.1f} | {rtfx} | {shown} |"
        yield ""
        guess = f"; a guess as to {', '.join(unknown)}, which the archive has no times of" if unknown else ""
        yield f"About {total:.2f} h of work at most, if one is done after the other{guess}."


def plan_redo(connection: Connection, workspace: Workspace, profile: Profile, request: RedoRequest) -> RedoPlan:
    """Look which videos of the archive are to be done again, and what of them.

    Args:
        connection: to the archive.
        workspace: where the artifacts are.
        profile: that does them.
        request: which, and what.

    Raises:
        BadInputError: what was given is no channel, or one that the archive has no video of.
    """
    urls = list(dict.fromkeys(normalise_channel(channel) for channel in request.channels))
    with errors_in_words(), connection, connection.cursor() as cursor:
        _require_videos(cursor, urls)
        cursor.execute(_VIDEOS, {"urls": urls or None, "since": _midnight(request.since)})
        videos = cursor.fetchall()
        made = _made(cursor, [row[0] for row in videos])
        rates = _rates(cursor, profile)
    before = _midnight(request.done_before)
    redo, without_audio = [], []
    for video_id, title, audio_s, _, language in videos:
        of_video = made.get(video_id, {})
        done = [of_video[stage][1] for stage in request.stages or REDO_STAGES if stage in of_video]
        done_at = min(done, default=None)
        if done_at and before and done_at >= before:
            continue
        video, audio = _recorded(workspace, video_id, language), workspace.current(video_id, "fetch_audio", profile)
        if audio is None or video is None:
            without_audio.append((title, video_id))
            continue
        stages, current = _to_do(workspace, video, profile, request.stages, audio)
        if stages or current != of_video:
            redo.append(VideoRedo(video, audio_s, stages, done_at))
    # A video whose time nobody knows of comes first.
    redo.sort(key=lambda one: (one.done_at or datetime.min.replace(tzinfo=UTC), one.video.video_id))
    n_channels = len({url for _, _, _, url, _ in videos})
    return RedoPlan(profile.name, redo, n_channels, len(videos), 0, tuple(without_audio), rates)


def _to_do(
    workspace: Workspace, video: Video, profile: Profile, forced: Set[str], audio: Artifact
) -> tuple[tuple[str, ...], Made]:
    """The stages that have to work for a video, and what there is of the others."""
    present: dict[str, Artifact | None] = {"fetch_audio": audio}
    to_do: list[str] = []
    for stage in REDO_STAGES:
        inputs = {name: present[name] for name in STAGES[stage].inputs}
        present[stage] = None
        if stage in forced or any(name in to_do for name in inputs):
            to_do.append(stage)
            continue
        present[stage] = workspace.made_of(video.video_id, stage, profile, inputs, video.language)
        # Where nobody speaks it may have been skipped, and what follows it.
        silent = any(artifact is None or artifact.manifest.empty for artifact in inputs.values())
        if present[stage] is None and not silent:
            to_do.append(stage)
    return tuple(to_do), {
        stage: (artifact.manifest.fingerprint, artifact.manifest.finished_at)
        for stage, artifact in present.items()
        if artifact
    }


def _recorded(workspace: Workspace, video_id: str, language: str | None) -> Video | None:
    with suppress(BadInputError):
        return workspace.read_video(video_id).model_copy(update={"language": language})
    return None


def _require_videos(cursor: Cursor, urls: Sequence[str]) -> None:
    for url in urls:
        cursor.execute(
            "SELECT 1 FROM channels c WHERE c.url = %(url)s AND (EXISTS (SELECT FROM videos v WHERE v.channel_id = "
            "c.channel_id) OR EXISTS (SELECT FROM channel_items i JOIN videos USING (video_id) "
            "WHERE i.channel_id = c.channel_id))",
            {"url": url},
        )
        if cursor.fetchone() is None:
            raise BadInputError(
                f"The archive has no video of {url}: name a channel as `channelscribe channels list` does, or leave "
                "`channels` empty for all."
            )


def _made(cursor: Cursor, video_ids: Sequence[str]) -> dict[str, dict[str, tuple[str, datetime]]]:
    cursor.execute(
        "SELECT video_id, stage, fingerprint, finished_at FROM stage_runs WHERE video_id = ANY(%s)", (list(video_ids),)
    )
    found: dict[str, dict[str, tuple[str, datetime]]] = {}
    for video_id, stage, name, finished_at in cursor:
        found.setdefault(video_id, {})[stage] = name, finished_at
    return found


def _rates(cursor: Cursor, profile: Profile) -> dict[str, Rate]:
    """How fast the stages were, by stage: with the profile's model and device, or else with whichever."""
    cursor.execute(
        "SELECT stage, model, revision, device_used, sum(audio_s), sum(total_s) FROM stage_runs WHERE NOT empty "
        "GROUP BY 1, 2, 3, 4"
    )
    times: dict[tuple[str, bool], tuple[float, float]] = {}
    for stage, model, revision, device, audio_s, total_s in cursor:
        spec = profile.stages[stage]
        key = stage, (model, revision, device) == (spec.model, spec.revision, spec.device)
        before = times.get(key, (0.0, 0.0))
        times[key] = before[0] + audio_s, before[1] + total_s
    # The profile's own come last, and replace the others.
    return {
        stage: Rate(audio_s / total_s, same_model)
        for (stage, same_model), (audio_s, total_s) in sorted(times.items(), key=lambda item: item[0][1])
        if total_s
    }


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)
