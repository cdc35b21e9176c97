"""The kept audio of a video."""

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from channelscribe.settings import get_settings
from channelscribe.store.kept_audio import kept_audio
from channelscribe.workspace import Workspace
from channelscribe_airflow.pages.connections import Reading

# By the end of the file's name. The system's own table differs from one system to the next.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".aac": "audio/aac", ".flac": "audio/flac", ".m4a": "audio/mp4", ".mka": "audio/x-matroska",
        ".mp3": "audio/mpeg", ".mp4": "audio/mp4", ".oga": "audio/ogg", ".ogg": "audio/ogg", ".opus": "audio/ogg",
        ".wav": "audio/wav", ".webm": "audio/webm",
    }
)  # fmt: skip

router = APIRouter()


@router.api_route("/videos/{video_id}/audio", methods=["GET", "HEAD"])
def audio(video_id: str, connection: Reading) -> FileResponse:
    """The audio, or the part of it that a player asks for."""
    path = kept_audio(connection, Workspace(get_settings().data_dir), [video_id]).get(video_id)
    if path is None:
        raise HTTPException(404, "The audio of this video is not kept here.")
    # A type that is no audio's would be compressed on the way, which breaks requests for a part.
    return FileResponse(path, media_type=_TYPES.get(path.suffix, "audio/x-unknown"))
