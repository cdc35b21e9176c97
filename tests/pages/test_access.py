"""Who sees the pages and changes what they show, and what the server answers besides."""

import html
import json
import re
import time
from contextlib import closing

import pytest

from channelscribe.store.connection import connect
from channelscribe.store.speakers.labels import lock_voices

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900), pytest.mark.usefixtures("edits_taken_back")]

TEA = "/videos/a-mad-tea-party"
PATHS = [
    "/", "/?q=wine", "/static/pages.css", TEA, f"{TEA}/audio", f"{TEA}/export/srt", "/speakers", "/speakers/duplicates",
    "/speaker?name=Hatter",
]  # fmt: skip
NAME_DORMOUSE = f"{TEA}/voices/SPEAKER_03"
WRITES = {
    NAME_DORMOUSE: {"name": "Dormouse"},
    f"{NAME_DORMOUSE}/split": {},
    "/speakers/name": {"speaker": "Hatter", "name": "Mad Hatter"},
    "/speakers/merge": {"speaker": "The Hatter", "into": "Hatter"},
    "/speakers/distinct": {"speaker": "The Hatter", "other": "Hatter"},
    "/speakers/split": {"speaker": "Speaker 1", "video_id": "humpty-dumpty", "cluster": "SPEAKER_01"},
    "/speakers/undo": {"edit_id": "1"},
}
EDITS = "SELECT edit_id, undone_at FROM speaker_edits ORDER BY 1"


@pytest.fixture
def unchanged(archive_rows):
    """The test ends with the edits that it began with."""
    before = archive_rows(EDITS)
    yield
    assert archive_rows(EDITS) == before


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_logging_in(live, path: str) -> None:
    answer = live.client(None).get(path, headers={"Accept": "*/*"})
    assert answer.status_code == 401
    assert not re.search("Wonderland|Hatter|wine|--ground", answer.text) and b"RIFF" not in answer.content


def test_a_browser_without_login_is_sent_to_the_login_and_back(live) -> None:
    answer = live.client(None).get("/?q=raven")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/auth/login?next=")
    assert "raven" in answer.headers["location"]


def test_a_login_that_is_not_valid_any_more_leads_to_the_login_and_is_forgotten(live, form) -> None:
    fields = form(live.client("admin"), TEA, "SPEAKER_03")
    client = live.client(None)
    client.cookies.set("_token", "of another installation", domain="127.0.0.1")
    answer = client.get("/?q=raven")
    assert answer.status_code == 303 and answer.headers["location"].startswith("/auth/login?next=")
    assert answer.headers["set-cookie"].startswith('_token="";')
    client.cookies.set("_token", "of another installation", domain="127.0.0.1")
    answer = client.post(NAME_DORMOUSE, data={**fields, "name": "Dormouse"})
    assert answer.status_code == 403 and "log in, and try again" in answer.text


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_role_reads(live, role: str) -> None:
    client = live.client(role)
    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/static/../app.py", "/static/%2e%2e%2fapp.py"])
def test_there_is_nothing_else(live, path: str) -> None:
    assert live.client("admin").get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/videos/none", "/videos/none/audio", "/videos/none/export/srt", "/speaker?name=none"]
)
def test_what_is_not_there_is_said_to_be_missing(live, path: str) -> None:
    answer = live.client("viewer").get(path)
    assert answer.status_code == 404 and "Error 404" in answer.text


@pytest.mark.parametrize(
    "path", ["/?q=%00", "/?q=x&since=tomorrow", "/?n=0", f"{TEA}?t=x", f"{TEA}?part=0", f"{TEA}/export/exe", "/speaker"]
)
def test_a_bad_question_gets_a_sentence(live, path: str) -> None:
    answer = live.client("viewer").get(path)
    assert answer.status_code == (200 if "since" in path else 400)
    assert "Traceback" not in answer.text and "not a day" in answer.text if "since" in path else "Error" in answer.text


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_the_plugin_is_in_airflows_navigation(live, role: str) -> None:
    client = live.client(role)
    assert client.get(live.url + "/api/v2/plugins/importErrors").json()["import_errors"] == []
    (plugin,) = client.get(live.url + "/api/v2/plugins").json()["plugins"]
    views = [(view["name"], view["destination"]) for view in plugin["external_views"]]
    assert views[:3] == [("Archive", "nav"), ("Speakers", "nav"), ("Pipeline", "nav")]
    assert views[3:] == [("Report", "dag_run"), ("Transcript", "task_instance")]


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.usefixtures("unchanged")
def test_a_viewer_changes_nothing_even_with_a_token_of_somebody_else(live, form, path: str) -> None:
    token = form(live.client("admin"), TEA)["token"]
    answer = live.client("viewer").post(path, data={**WRITES[path], "token": token})
    assert answer.status_code == 403
    assert live.client(None).post(path, data={**WRITES[path], "token": token}).status_code == 401


@pytest.mark.parametrize("path", ["/speakers", "/speaker?name=Hatter", "/speakers/duplicates", TEA])
def test_a_viewer_is_offered_no_form_that_changes_anything(live, path: str) -> None:
    assert 'method="post"' not in live.client("viewer").get(path).text
    assert 'method="post"' in live.client("user").get(path).text


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("unchanged")
def test_a_form_of_another_site_changes_nothing(live, form, path: str, headers: dict[str, str]) -> None:
    client = live.client("admin")
    token = form(client, TEA)["token"]
    answer = client.post(path, data={**WRITES[path], "token": token}, headers=headers)
    assert answer.status_code == 403 and "another site" in answer.text


@pytest.mark.parametrize("token", ["", "made-up", "of somebody else"])
@pytest.mark.usefixtures("unchanged")
def test_a_form_without_its_own_token_changes_nothing(live, form, token: str) -> None:
    if token == "of somebody else":
        token = form(live.client("user"), TEA)["token"]
    client = live.client("admin")
    for path, data in WRITES.items():
        answer = client.post(path, data={**data, "token": token})
        assert answer.status_code == 403 and "out of date" in answer.text


@pytest.mark.parametrize("role", ["user", "op", "admin"])
def test_whoever_may_edit_names_a_voice_and_takes_it_back(live, form, archive_rows, role: str) -> None:
    client = live.client(role)
    said_by = (
        "SELECT DISTINCT label FROM utterance_speakers WHERE video_id = 'a-mad-tea-party' AND cluster = 'SPEAKER_03'"
    )
    answer = client.post(NAME_DORMOUSE, data={**form(client, TEA, "SPEAKER_03"), "name": " Dormouse "})
    assert answer.status_code == 303
    assert archive_rows(said_by) == [("Dormouse",)]
    there = answer.headers["location"].removeprefix("/channelscribe")
    page = client.get(there).text
    assert "a-mad-tea-party/SPEAKER_03 is Dormouse." in html.unescape(page)
    answer = client.post("/speakers/undo", data=form(client, there, "undo"))
    assert answer.headers["location"].startswith(f"/channelscribe{TEA}?notice=")
    assert archive_rows(said_by) == [("SPEAKER_03",)]


def test_what_a_name_teaches_about_other_videos_follows(live, form, archive_rows, add_scene) -> None:
    words = "word " * 20
    add_scene("encore", f"Dormouse: {words}\nStranger: {words}", sound=False)
    client = live.client("user")
    client.post(NAME_DORMOUSE, data={**form(client, TEA, "SPEAKER_03"), "name": "Dormouse"})
    said_by = "SELECT cluster, label FROM utterance_speakers WHERE video_id = 'encore' ORDER BY 1"
    deadline = time.monotonic() + 120
    while (rows := archive_rows(said_by)) != [("SPEAKER_00", "Dormouse"), ("SPEAKER_01", "SPEAKER_01")]:
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)
    client.post("/speakers/undo", data=form(client, "/speakers", "undo"))


def test_undo_takes_back_only_what_it_was_offered_for(live, form, archive_rows) -> None:
    client = live.client("admin")
    token = form(client, TEA)["token"]
    client.post(NAME_DORMOUSE, data={"token": token, "name": "Dormouse"})
    offered = form(client, "/speakers", "undo")
    client.post("/speakers/name", data={"token": token, "speaker": "Dormouse", "name": "The Dormouse"})
    refused = client.post("/speakers/undo", data=offered)
    assert "Something else was said since" in html.unescape(
        client.get(refused.headers["location"].removeprefix("/channelscribe")).text
    )
    assert archive_rows("SELECT count(*) FROM speakers WHERE name = 'The Dormouse'") == [(1,)]
    for _ in range(2):
        client.post("/speakers/undo", data=form(client, "/speakers", "undo"))
    assert archive_rows("SELECT count(*) FROM speakers WHERE name LIKE '%%Dormouse'") == [(0,)]


@pytest.mark.usefixtures("unchanged")
def test_a_name_that_cannot_be_is_refused_in_a_sentence(live, form) -> None:
    client = live.client("admin")
    answer = client.post(NAME_DORMOUSE, data={**form(client, TEA, "SPEAKER_03"), "name": "SPEAKER_07"})
    page = client.get(answer.headers["location"].removeprefix("/channelscribe")).text
    assert "is what an unknown voice is called" in html.unescape(page)
    assert client.post(NAME_DORMOUSE, data={**form(client, TEA), "name": "a\0b"}).status_code == 400


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "https://evil.example", "/x\r\nSet-Cookie: a=b"])
def test_after_a_form_comes_a_page_of_ours(live, form, back: str) -> None:
    client = live.client("admin")
    answer = client.post("/speakers/undo", data={**form(client, "/speakers"), "edit_id": "999999", "back": back})
    assert answer.headers["location"].startswith("/channelscribe/") and "set-cookie" not in answer.headers


def test_nobody_elses_link_puts_words_into_a_page(live) -> None:
    assert "You were hacked" not in live.client("viewer").get("/?notice=You+were+hacked").text


def test_audio_comes_in_the_ranges_that_are_asked_for(live) -> None:
    client = live.client("viewer")
    whole = client.get(f"{TEA}/audio")
    assert whole.headers["content-type"] == "audio/wav" and whole.headers["accept-ranges"] == "bytes"
    part = client.get(f"{TEA}/audio", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert client.get(f"{TEA}/audio", headers={"Range": f"bytes={10**9}-"}).status_code == 416
    assert client.head(f"{TEA}/audio").headers["content-length"] == str(len(whole.content))


def test_a_player_that_takes_its_time_holds_no_connection_to_the_archive(live, add_scene, archive_rows) -> None:
    add_scene("endless", f"Narrator: {'word ' * 1600}")  # more than fits on the way to the player
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'archive' AND pid <> pg_backend_pid()"
    with live.client("viewer").stream("GET", "/videos/endless/audio") as answer:
        assert answer.status_code == 200
        deadline = time.monotonic() + 60  # a connection that is closed ends a moment later
        while (found := archive_rows(f"{asked} AND backend_type = 'client backend'")) != [(0,)]:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@pytest.mark.usefixtures("unchanged")
def test_an_edit_that_others_keep_waiting_ends_in_a_sentence(live, form) -> None:
    client = live.client("admin")
    fields = form(client, TEA, "SPEAKER_03")
    with closing(connect(live.archive_dsn)) as connection, connection, connection.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        answer = client.post(NAME_DORMOUSE, data={**fields, "name": "Dormouse"})
    assert answer.status_code == 503 and "lock timeout" in answer.text and "try again" in answer.text


@pytest.mark.parametrize(
    "path", ["/videos/..%2f..%2fpasswords.json/audio", "/videos/%2e%2e/audio", "/videos/.../audio"]
)
def test_no_other_file_is_handed_out(live, path: str) -> None:
    assert live.client("admin").get(path).status_code == 404


@pytest.mark.parametrize("name", ["srt", "vtt", "rttm", "json", "md", "txt"])
def test_every_export_is_a_file(live, name: str) -> None:
    answer = live.client("viewer").get(f"{TEA}/export/{name}")
    assert answer.headers["content-disposition"] == f'attachment; filename="a-mad-tea-party.{name}"'
    assert ("Hatter" in answer.text) and (name == "rttm" or "writing-desk" in answer.text)
    assert name != "json" or json.loads(answer.text)["video"]["video_id"] == "a-mad-tea-party"


def test_a_long_transcript_comes_in_parts(live, add_scene) -> None:
    add_scene("long", "\n".join(f"Narrator: word{n} word" for n in range(1101)), sound=False)
    client = live.client("viewer")
    first, last = client.get("/videos/long").text, client.get("/videos/long?part=9").text
    assert ("Part 1 of 3" in first, "word499 " in first, "word500 " in first) == (True, True, False)
    assert ("Part 3 of 3" in last, "word1100 " in last) == (True, True)
    at = client.get("/videos/long?t=751.2").text
    assert "Part 2 of 3" in at and 'id="u500"' in at
