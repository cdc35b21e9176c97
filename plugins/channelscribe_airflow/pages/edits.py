"""What the forms do: say who a voice is, merge, split and tell apart speakers, take it back."""

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse

from channelscribe.errors import BadInputError
from channelscribe.store.connection import Connection
from channelscribe.store.speakers import edits as speaker_edits
from channelscribe_airflow.pages.connections import Writing
from channelscribe_airflow.pages.guard import require_own_form
from channelscribe_airflow.pages.identifying import identifying
from channelscribe_airflow.pages.rendering import Notice, notice_query, root

router = APIRouter(dependencies=[Depends(require_own_form)])

# No text in the archive holds NUL, and its server takes no question with it.
Line = Annotated[str, Form(max_length=300, pattern=r"^[^\x00]*$")]
_LATER = "What that says of other voices follows in a moment."


@router.post("/videos/{video_id}/voices/{cluster}")
def name_voice(
    request: Request,
    user: GetUserDep,
    connection: Writing,
    video_id: str,
    cluster: str,
    name: Line,
    scope: Annotated[Literal["here", "everywhere"], Form()] = "here",
) -> RedirectResponse:
    """Say whose voice a cluster is; or, of one that has a speaker, what that speaker is called everywhere."""
    key = (video_id, cluster)

    def edit() -> str:
        speaker = speaker_edits.speaker_of(connection, key) if scope == "everywhere" else None
        if speaker is None:
            return speaker_edits.name_cluster(connection, key, name)
        return _rename_or_merge(connection, speaker, name)

    return _do(request, connection, edit, f"/videos/{quote(video_id, safe='')}")


@router.post("/videos/{video_id}/voices/{cluster}/split")
def split_voice(
    request: Request, user: GetUserDep, connection: Writing, video_id: str, cluster: str
) -> RedirectResponse:
    """Say that a cluster is not its speaker, but somebody without a name."""
    key = (video_id, cluster)

    def edit() -> str:
        speaker = speaker_edits.speaker_of(connection, key)
        if speaker is None:
            raise BadInputError(f"{'/'.join(key)} is nobody's voice already.")
        return speaker_edits.split_speaker(connection, speaker, [key], None)

    return _do(request, connection, edit, f"/videos/{quote(video_id, safe='')}")


@router.post("/speakers/name")
def name_speaker(request: Request, connection: Writing, speaker: Line, name: Line) -> RedirectResponse:
    """Call a speaker otherwise, everywhere; a name that is there already makes them one."""
    there = _speaker_page(" ".join(name.split()))
    return _do(
        request, connection, lambda: _rename_or_merge(connection, speaker, name), there, failed=_speaker_page(speaker)
    )


@router.post("/speakers/merge")
def merge_speakers(request: Request, connection: Writing, speaker: Line, into: Line) -> RedirectResponse:
    """Make two speakers one."""
    return _do(
        request,
        connection,
        lambda: speaker_edits.merge_speakers(connection, speaker, into),
        "/speakers/duplicates",
    )


@router.post("/speakers/distinct")
def tell_apart(request: Request, connection: Writing, speaker: Line, other: Line) -> RedirectResponse:
    """Say that two speakers are two."""
    return _do(
        request,
        connection,
        lambda: speaker_edits.tell_apart(connection, speaker, other),
        "/speakers/duplicates",
    )


@router.post("/speakers/split")
def split_speaker(
    request: Request, connection: Writing, speaker: Line, video_id: Line, cluster: Line
) -> RedirectResponse:
    """Say that one of a speaker's clusters is somebody else."""
    return _do(
        request,
        connection,
        lambda: speaker_edits.split_speaker(connection, speaker, [(video_id, cluster)], None),
        _speaker_page(speaker),
    )


@router.post("/speakers/undo")
def undo(
    request: Request, connection: Writing, edit_id: Annotated[int, Form(ge=1, lt=2**63)], back: Line = "/speakers"
) -> RedirectResponse:
    """Take back the last edit, if it still is the last."""
    back = back if back.startswith("/") else "/speakers"
    return _do(request, connection, lambda: f"Undone: {speaker_edits.undo(connection, edit_id)}", back, undoable=False)


def _rename_or_merge(connection: Connection, speaker: str, name: str) -> str:
    if speaker_edits.is_somebody_else(connection, speaker, name):
        return speaker_edits.merge_speakers(connection, speaker, name)
    return speaker_edits.name_speaker(connection, speaker, name)


def _do(
    request: Request,
    connection: Connection,
    edit: Callable[[], str],
    back: str,
    *,
    failed: str | None = None,
    undoable: bool = True,
) -> RedirectResponse:
    """Edit, and go to a page of ours that says what was done, or why not."""
    try:
        what = edit()
    except BadInputError as error:
        return _to(request, failed or back, Notice(str(error), good=False))
    identifying.ask()
    last = speaker_edits.last_edit(connection) if undoable else None
    edit_id = last.edit_id if last and last.description == what else None
    return _to(request, back, Notice(f"{what}. {_LATER}", edit_id=edit_id))


def _to(request: Request, back: str, notice: Notice) -> RedirectResponse:
    # Below our own path, whatever was asked for.
    path, _, query = back.partition("?")
    joined = "&".join(filter(None, [query, notice_query(notice)]))
    return RedirectResponse(f"{root(request)}{path}?{joined}", 303)


def _speaker_page(name: str) -> str:
    return f"/speaker?{urlencode({'name': name})}"
