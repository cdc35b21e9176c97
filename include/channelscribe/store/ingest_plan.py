"""From channels to the videos of one run: what is polled, and what is taken of all that polls have listed."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from math import ceil

from channelscribe.channels.options import ChannelOptions
from channelscribe.channels.patience import waits
from channelscribe.channels.polling import list_pages, look_up_all
from channelscribe.channels.selection import select_videos
from channelscribe.channels.source import normalise_channel
from channelscribe.contracts import ListedVideo, Video
from channelscribe.errors import ChannelscribeError, RateLimitedError
from channelscribe.settings import Settings
from channelscribe.store.channels import Channel, get_channel, list_channels, record_failed_poll, require_one_name
from channelscribe.store.connection import Connection
from channelscribe.store.geo_blocks import blocked_channels, says_why
from channelscribe.store.listed import (
    due_for_recheck,
    known_ids,
    listed_videos,
    record_answers,
    record_listing,
    without_date,
)
from channelscribe.store.queries import failing_videos, loaded_video_ids
from channelscribe.wording import plural

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a run was asked for; what is None is up to each channel's options.

    Args:
        limit: new videos of each channel.
        newest_first: the newest, or the oldest.
        since: day (UTC) of publication of the oldest.
        force: videos that the archive has, too.
        backfill: the limit that is up to a channel's options is that of its backfill.
    """

    limit: int | None = None
    newest_first: bool | None = None
    since: date | None = None
    force: bool = False
    backfill: bool = False


@dataclass(frozen=True)
class Share:
    """What a run takes of one channel.

    Args:
        limit: most videos.
        n_chosen: videos that it takes.
        n_waiting: videos that are left for the next run, or that another one is at work on.
        to_end: whether the channel was ever listed to its end.
        held: why none is taken for a while.
    """

    limit: int
    n_chosen: int
    n_waiting: int
    to_end: bool
    held: str | None = None

    @property
    def outlook(self) -> str:
        """What is left of the channel, for people, where a run takes as many every day."""
        if self.held:
            return f"{self.n_waiting} remain, {self.held}"
        if not self.to_end:
            return f"{self.n_chosen} taken, {self.n_waiting} remain of what is listed, which was not to its end yet"
        if self.n_waiting:
            n_days = ceil(self.n_waiting / self.limit)
            return f"{self.n_chosen} taken, {self.n_waiting} remain: about {n_days} more {plural('day', n_days)}"
        if self.n_chosen:
            return f"{self.n_chosen} taken, the last ones"
        return "nothing remains, the archive has all that can be had of it: its option `backfill` can go"


@dataclass(frozen=True)
class Plan:
    """The videos of a run.

    Args:
        chosen: in the order of work.
        n_listed: items that the channels have listed so far.
        n_unavailable: items that the sites do not hand out.
        shares: what is taken of each channel, by URL.
        skipped: items that were not taken, by why.
    """

    chosen: list[Video]
    n_listed: int
    n_unavailable: int
    shares: Mapping[str, Share]
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_waiting(self) -> int:
        """Videos that could be taken but for a limit, or for a site that asked for patience: for the next run."""
        return sum(share.n_waiting for share in self.shares.values())

    @property
    def n_held(self) -> int:
        """Those of them that no limit holds back, but their site."""
        return sum(share.n_waiting for share in self.shares.values() if share.held)

    @property
    def video_ids(self) -> list[str]:
        """Ids of the chosen videos."""
        return [video.video_id for video in self.chosen]


def channels_to_poll(connection: Connection, settings: Settings, given: Sequence[str]) -> list[str]:
    """Canonical URLs, each once: of the channels given, or else of those that are followed and not paused.

    Raises:
        BadInputError: what was given is no channel.
    """
    if given:
        return list(dict.fromkeys(normalise_channel(channel) for channel in given))
    followed = [channel.url for channel in list_channels(connection) if not channel.paused]
    return list(dict.fromkeys([*followed, *(normalise_channel(channel) for channel in settings.channels)]))


def channels_to_backfill(connection: Connection, given: Sequence[str]) -> list[str]:
    """Canonical URLs, each once: of the channels given, or else of those with the option, unless they are paused.

    Raises:
        BadInputError: what was given is no channel.
    """
    if given:
        return list(dict.fromkeys(normalise_channel(channel) for channel in given))
    followed = list_channels(connection)
    return [channel.url for channel in followed if channel.options.backfill and not channel.paused]


def poll_into_archive(connection: Connection, url: str, request: Request) -> int:
    """Poll a channel and keep what it lists; returns how many items are new.

    Raises:
        RateLimitedError: the site asks for patience, or did and the time is not over.
        BadInputError: the channel is followed by another name; else as `list_pages`.
        TryAgainError: see `list_pages`.
    """
    channel = get_channel(connection, url)
    if channel.not_before is not None and channel.waits:
        raise RateLimitedError(waits(url, channel.not_before, channel.poll_failure))
    try:
        known = known_ids(connection, url)
        check_names = partial(require_one_name, connection, url)
        listing = list_pages(url, channel.options, known, whole=not channel.polled_to_end, check_names=check_names)
    except ChannelscribeError as error:
        record_failed_poll(connection, url, str(error), rate_limited=isinstance(error, RateLimitedError))
        raise
    n_new = record_listing(connection, url, listing)
    said = {one.video.video_id for one in listing.listed if one.availability != "public"}
    questions = [video for video in due_for_recheck(connection, url) if video.video_id not in said]
    if request.since or channel.options.since:
        questions += without_date(connection, url)
    answers = look_up_all({video.video_id: video for video in questions}.values())
    record_answers(connection, answers)
    if answers.refusal:
        # What was listed counts; what was not asked for has its turn in the next poll.
        logger.warning("%s", answers.refusal)
        record_failed_poll(connection, url, str(answers.refusal), rate_limited=True)
    return n_new


def choose_videos(
    connection: Connection,
    settings: Settings,
    urls: Iterable[str],
    request: Request,
    most: int,
    busy: Collection[str] = (),
) -> Plan:
    """Choose the videos of a run from all that the polls of its channels have listed.

    Those that failed three times in a row come after all others, for a week. Of a channel of which nothing can be had
    from this country one is tried a week, unless the run was given a limit.

    Args:
        connection: to the archive.
        settings: the limit of channels without one of their own.
        urls: canonical URLs of the channels.
        request: what the run was asked for.
        most: videos in a run.
        busy: ids of videos that another run works on.
    """
    loaded = set() if request.force else loaded_video_ids(connection)
    failing = failing_videos(connection)
    blocked = {} if request.limit or request.force else blocked_channels(connection)
    chosen: dict[str, Video] = {}
    shares: dict[str, Share] = {}
    skipped: Counter[str] = Counter()
    n_listed = n_unavailable = 0
    for url in urls:
        channel, listed = get_channel(connection, url), listed_videos(connection, url)
        options = channel.options
        n_listed += len(listed)
        n_unavailable += sum(one.availability != "public" for one in listed)
        found = _wanted(listed, options, request, loaded.union(chosen))
        undated = _undated(connection, url, options, request)
        wanted = [video for video in found if video.video_id not in undated]
        # What fails again and again must not hold up the rest.
        wanted.sort(key=lambda video: video.video_id in failing)
        limit = request.limit or (options.backfill if request.backfill else options.limit) or settings.limit
        held = _held(channel, blocked)
        free = [video for video in wanted if video.video_id not in busy]
        taken = [] if held else free[: min(1 if url in blocked else limit, most - len(chosen))]
        waiting = {video.video_id: held or "waits for the next run" for video in free[len(taken) :]}
        waiting |= dict.fromkeys(undated.intersection(video.video_id for video in found), "waits for its date")
        chosen |= {video.video_id: video.model_copy(update={"language": options.language}) for video in taken}
        left = [one for one in listed if one.video.video_id not in chosen]
        skipped.update(_why_not(one, options, loaded, busy, waiting) for one in left)
        shares[url] = Share(limit, len(taken), len(found) - len(taken), channel.polled_to_end, held)
    return Plan(list(chosen.values()), n_listed, n_unavailable, shares, dict(skipped.most_common()))


def _wanted(
    listed: Iterable[ListedVideo], options: ChannelOptions, request: Request, left_out: set[str]
) -> list[Video]:
    """What a run wants of a channel's items, in the order in which it takes them."""
    states = ("public", "unusable") if request.force else ("public",)
    return select_videos(
        [one.video for one in listed if one.availability in states and options.takes(one)],
        left_out,
        limit=None,
        newest_first=options.newest_first if request.newest_first is None else request.newest_first,
        since=request.since or options.since,
    )


def _undated(connection: Connection, url: str, options: ChannelOptions, request: Request) -> set[str]:
    """Items that may be too old: a later poll asks for the dates that their listing did not give."""
    if not (request.since or options.since):
        return set()
    return {video.video_id for video in without_date(connection, url, every=True)}


def _held(channel: Channel, blocked: Mapping[str, datetime]) -> str | None:
    """Why none of a channel's videos is taken now, for people; None if they are."""
    # What a site that asked for patience was asked for meanwhile would make it wait longer.
    if channel.waits:
        return "held, as the site asked for patience"
    until = blocked.get(channel.url)
    return says_why(until) if until and until > datetime.now(UTC) else None


def _why_not(
    one: ListedVideo,
    options: ChannelOptions,
    loaded: Collection[str],
    busy: Collection[str],
    waiting: Mapping[str, str],
) -> str:
    """Why an item of a channel is not taken, for people; of those that wait it is given."""
    video_id = one.video.video_id
    if video_id in loaded:
        return "in the archive already"
    if video_id in waiting:
        return waiting[video_id]
    if video_id in busy:
        return "at work in another run"
    if one.availability != "public":
        return one.availability.replace("_", " ")
    return "too old" if options.takes(one) else "not what the channel's options ask for"
