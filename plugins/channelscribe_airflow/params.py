"""The params that several DAGs have. What differs is what each says of them."""

from airflow.sdk import Param

from channelscribe.profiles import PROFILES

# What can't be a channel is refused where it is given, the rest by the run's first task.
_YOUTUBE_ID = r"(UC[A-Za-z0-9_-]{22}|PL[A-Za-z0-9_-]{10,64})"
_CHANNEL = {"type": "string", "pattern": rf"^\s*(@|[hH][tT][tT][pP][sS]?://|{_YOUTUBE_ID}\s*$)"}


def channels(without: str) -> Param:
    """URLs, handles and ids, and what is meant without any."""
    return Param(
        [],
        type="array",
        items=_CHANNEL,
        maxItems=1000,
        title="Channels",
        description=f"URLs, or @handles or ids of YouTube, one per line. Without any, {without}",
    )


def limit(description: str, most: int) -> Param:
    """A number of videos, or empty."""
    return Param(None, type=["null", "integer"], minimum=1, maximum=most, title="Limit", description=description)


def day(title: str, description: str) -> Param:
    """A day, or empty."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def profile(default: str) -> Param:
    """The name of a profile."""
    return Param(
        default,
        type="string",
        enum=list(PROFILES),
        title="Profile",
        description="Which engine and model does each stage.",
    )
