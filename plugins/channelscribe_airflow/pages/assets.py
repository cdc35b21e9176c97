"""Style sheets, scripts and icons."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from channelscribe_airflow.pages.rendering import STATIC

router = APIRouter()


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """One of the files in the folder `static`. Its address changes with its content."""
    if name not in {path.name for path in STATIC.iterdir()}:
        raise HTTPException(404)
    return FileResponse(STATIC / name, headers={"Cache-Control": "private, max-age=31536000"})
