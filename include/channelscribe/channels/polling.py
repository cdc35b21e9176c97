"""Asking a site what a channel lists, and for single items."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from channelscribe.channels.listing import list_channel, look_up
from channelscribe.channels.options import ChannelOptions
from channelscribe.channels.pacing import wait_for_turn
from channelscribe.channels.source import SiteNames
from channelscribe.contracts import ListedVideo, Video
from channelscribe.errors import ChannelscribeError, RateLimitedError
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

logger = logging.getLogger(__name__)

MAX_WAIT_S = 300.0
"""How long the look-ups of one poll wait for their turns, all together."""


@dataclass(frozen=True)
class Listing:
    """What a channel lists.

    Args:
        listed: items in the site's order, newest first as a rule; known ones, too, as far as it was read.
        to_end: whether all pages were read to their ends.
        n_pages: how many there are; of one alone the items stand in one order.
    """

    listed: list[ListedVideo]
    to_end: bool
    n_pages: int = 1


@dataclass
class Answers:
    """What a site said of single items.

    Args:
        found: items as they are now.
        unanswered: ids of items of which nothing could be found out.
        refusal: the site asked for patience, and the rest was not asked for.
    """

    found: list[ListedVideo] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    refusal: RateLimitedError | None = None


def list_pages(
    channel_url: str,
    options: ChannelOptions,
    known_ids: Collection[str],
    *,
    whole: bool,
    check_names: Callable[[SiteNames], None] = lambda _: None,
) -> Listing:
    """Read a channel's pages.

    Args:
        channel_url: canonical URL, see `source.normalise_channel`.
        options: which pages.
        known_ids: items that are in the archive's list of the channel already.
        whole: read the pages to their ends, known items or not.
        check_names: as `list_channel` takes it, for the channel itself.

    Raises:
        BadInputError: there is no such channel.
        RateLimitedError: the site asks for patience.
        TryAgainError: the network or the site is at fault.
    """
    listed: dict[str, ListedVideo] = {}
    to_end, pages, missing = True, options.pages(channel_url), list[ChannelscribeError]()
    for page in pages:
        try:
            if page == channel_url:
                found, complete = list_channel(page, () if whole else known_ids, check_names=check_names)
            else:
                found, complete = list_channel(page, () if whole else known_ids)
        except ChannelscribeError as error:
            # YouTube has no tab of what a channel never had.
            if "does not have a" not in str(error):
                raise
            logger.info("%s", error)
            missing.append(error)
            continue
        to_end &= complete
        for one in found:
            video = one.video.model_copy(update={"channel_url": channel_url})
            listed.setdefault(video.video_id, one.model_copy(update={"video": video}))
    if len(missing) == len(pages):
        raise missing[0]
    return Listing(list(listed.values()), to_end, len(pages))


def look_up_all(videos: Iterable[Video]) -> Answers:
    """Ask for items singly, until the site asks for patience.

    They take turns with the downloads. What would wait for too long is left for another poll.
    """
    answers, settings, left_s = Answers(), get_settings(), MAX_WAIT_S
    turns = Workspace(settings.data_dir).turns
    for video in videos:
        waited_s = wait_for_turn(turns, video.url, settings.youtube_videos_per_hour, left_s)
        if waited_s is None:
            logger.info("The other look-ups are left for a later poll: their turns are too far away.")
            break
        left_s -= waited_s
        try:
            answers.found.append(look_up(video))
        except RateLimitedError as error:
            answers.refusal = error
            break
        except ChannelscribeError as error:
            logger.info("%s", error)
            answers.unanswered.append(video.video_id)
    return answers
