"""Names of map indexes in Airflow's UI."""

from channelscribe.errors import ChannelscribeError
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

# Airflow keeps 250 characters of a map index's name, and refuses an empty one.
MAX_LENGTH = 200


def video_title(video_id: str) -> str:
    """A video's title for people; its id where the workspace has none. Never fails, as that would fail the task."""
    try:
        title = Workspace(get_settings().data_dir).read_video(video_id).title.strip()
    except (ChannelscribeError, OSError):
        title = ""
    return (title or video_id)[:MAX_LENGTH]
