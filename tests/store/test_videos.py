"""The list of the archive's videos."""

import json
from datetime import UTC, date, datetime

import pytest
from typer.testing import CliRunner

from channelscribe.settings import get_settings
from channelscribe.store.search.narrowing import narrow
from channelscribe.store.speakers.edits import name_cluster
from channelscribe.store.video_commands import app
from channelscribe.store.videos import list_videos

TALE = (("SPEAKER_00", 0.0, "It was the best"), ("SPEAKER_01", 5.0, "of times, it was the worst of times"))


@pytest.fixture
def filled(studio, script):
    for number, day in {"v1": 1, "v2": 3, "v3": 2}.items():
        channel = {"channel_url": "https://example.org/feed", "channel_title": "Other"} if number == "v3" else {}
        published = {"published_at": datetime(2026, 1, day, tzinfo=UTC)}
        studio.add(script(TALE, video_id=number, video={**published, **channel}))
    name_cluster(studio.connection, ("v2", "SPEAKER_01"), "Ada")
    return studio


def ids(studio, **filters) -> list[str]:
    given = {"channel": None, "speaker": None, "since": None, "limit": 10, **filters}
    return [video.video_id for video in list_videos(studio.connection, **given)]


def test_the_newest_come_first_with_those_who_speak_most(filled):
    first, *_ = list_videos(filled.connection, channel=None, speaker=None, since=None, limit=10)
    assert (first.video_id, first.channel, first.audio_s) == ("v2", "Classics", 60.0)
    assert first.speakers == ("Ada", "SPEAKER_00")
    assert ids(filled) == ["v2", "v3", "v1"]


def test_filters(filled):
    assert ids(filled, channel="classics") == ["v2", "v1"]
    assert ids(filled, speaker="ada") == ["v2"]
    assert ids(filled, since=date(2026, 1, 2)) == ["v2", "v3"]
    assert ids(filled, limit=1) == ["v2"]


def test_days_are_those_of_utc_wherever_the_server_is(studio, script):
    studio.rows("SET timezone = 'America/New_York'")
    studio.add(script(TALE, video_id="v1", video={"published_at": datetime(2026, 1, 1, 0, 30, tzinfo=UTC)}))
    assert ids(studio, since=date(2026, 1, 1)) == ["v1"]
    with studio.connection, studio.connection.cursor() as cursor:
        day = {"since": None, "until": date(2025, 12, 31)}
        found = narrow(cursor, speaker=None, channel=None, video=None, **day)
    assert found.by_video and "v1" not in found.parameters["video_ids"]


def test_the_command(filled, archive_dsn, monkeypatch):
    monkeypatch.setenv("CHANNELSCRIBE_ARCHIVE_DSN", archive_dsn)
    get_settings.cache_clear()

    def run(*arguments: str):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    assert run("--limit", "1").stdout.splitlines() == ["v2  2026-01-03  1:00  Title of v2", "  Ada, SPEAKER_00"]
    assert "There are more" in run("--limit", "1").stderr
    (video,) = json.loads(run("--speaker", "Ada", "--json").stdout)
    assert (video["video_id"], video["published_at"]) == ("v2", "2026-01-03T00:00:00+00:00")
    nobody = run("--speaker", "Nobody", "--json")
    assert json.loads(nobody.stdout) == []
    assert "Nobody is known as 'Nobody'" in nobody.stderr
    filled.rows("DELETE FROM videos")
    assert "No video is in the archive" in run().stdout
