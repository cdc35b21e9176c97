"""Which of the listed videos one run takes."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date

from channelscribe.contracts import Video


def select_videos(
    videos: Iterable[Video],
    loaded_ids: set[str],
    *,
    limit: int | None,
    newest_first: bool = True,
    since: date | None = None,
) -> list[Video]:
    """Choose the videos of one run: what is loaded is dropped, then what is too old, then what is over the limit.

    Videos with a date are ordered by it. Sites list the newest first, so a video without a date takes the date
    of the nearest video before it in its channel's listing, and of the nearest after it if there is none before.

    Args:
        videos: what polling found, in the order of each channel's listing (newest first).
        loaded_ids: ids that the archive has.
        limit: most videos taken of each channel; all if None.
        newest_first: take the newest of each channel; the oldest if false.
        since: day (UTC) of publication of the oldest video taken. Videos without a date are kept.

    Returns:
        The videos, channel by channel in the order of their first appearance; an id at most once.
    """
    by_channel: dict[str, list[Video]] = defaultdict(list)
    seen: set[str] = set()
    for video in videos:
        channel = by_channel[video.channel_url]
        if video.video_id not in seen:
            seen.add(video.video_id)
            channel.append(video)
    chosen: list[Video] = []
    for listing in by_channel.values():
        ordered = _oldest_first(listing)
        if newest_first:
            ordered.reverse()
        wanted = [video for video in ordered if video.video_id not in loaded_ids and _is_recent(video, since)]
        chosen.extend(wanted[:limit])
    return chosen


def _is_recent(video: Video, since: date | None) -> bool:
    return since is None or video.published_at is None or video.published_at.astimezone(UTC).date() >= since


def _oldest_first(listing: list[Video]) -> list[Video]:
    times = [video.published_at.timestamp() if video.published_at else None for video in listing]
    for order in (range(1, len(times)), range(len(times) - 2, -1, -1)):
        step = order.step
        for index in order:
            if times[index] is None:
                times[index] = times[index - step]
    places = sorted(range(len(listing)), key=lambda index: (times[index] or 0.0, -index))
    return [listing[index] for index in places]
