"""Names of map indexes in Airflow's UI."""

from collections.abc import Sequence

from channelscribe import batches
from channelscribe.settings import get_settings
from channelscribe.workspace import Workspace

# Airflow keeps 250 characters of a map index's name, and refuses an empty one.
MAX_LENGTH = 200


def batch_title(video_ids: Sequence[str]) -> str:
    """The titles of a batch's videos for people. Never fails, as that would fail the task."""
    return batches.title(Workspace(get_settings().data_dir), video_ids)[:MAX_LENGTH] or "no video"
