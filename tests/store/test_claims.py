"""Claims on the real server: of runs that choose at once, each video is one's."""

import threading
from contextlib import closing
from dataclasses import dataclass

import pytest

from channelscribe.store.claims import Run, claim_videos
from channelscribe.store.connection import connect
from channelscribe.store.speakers.labels import lock_voices

DAILY, BACKFILL = Run("channel_ingest", "r"), Run("backfill", "r")


@dataclass
class Choice:
    video_ids: list[str]


def first(number, videos=("v1", "v2", "v3", "v4")):
    """Chooses the first videos that are not at work."""
    return lambda busy: Choice([video for video in videos if video not in busy][:number])


def claim(connection, run, number, at_work=()):
    return claim_videos(connection, run, lambda *asked: asked in at_work, first(number)).video_ids


def test_what_a_run_at_work_has_is_left_out_and_the_next_ones_are_taken(archive):
    at_work = {("channel_ingest", "r")}
    assert claim(archive, DAILY, 2) == ["v1", "v2"]
    assert claim(archive, BACKFILL, 2, at_work) == ["v3", "v4"]
    assert DAILY.name == "channel_ingest/r" != BACKFILL.name


def test_a_run_that_has_ended_or_that_airflow_forgot_keeps_nothing(archive):
    assert claim(archive, DAILY, 2) == ["v1", "v2"]
    assert claim(archive, BACKFILL, 3) == ["v1", "v2", "v3"]
    # They are the later run's now, should the earlier one's tasks be cleared.
    assert claim(archive, DAILY, 2, {("backfill", "r")}) == ["v4"]


def test_a_run_that_selects_again_has_its_own(archive):
    at_work = {("channel_ingest", "r")}
    assert claim(archive, DAILY, 2) == claim(archive, DAILY, 2, at_work) == ["v1", "v2"]


def test_no_video_is_no_claim(archive):
    assert claim(archive, DAILY, 0) == []
    with archive, archive.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM claims")
        assert cursor.fetchone() == (0,)


def test_a_choice_does_not_wait_for_loads_nor_for_edits_of_speakers(archive, archive_dsn):
    with closing(connect(archive_dsn)) as editing, editing, editing.cursor() as cursor:
        lock_voices(cursor, exclusive=True)
        with archive, archive.cursor() as choosing:
            choosing.execute("SET lock_timeout = '2s'")
        assert claim(archive, DAILY, 1) == ["v1"]


def test_two_that_choose_at_once_choose_one_after_the_other(archive_dsn):
    choosing, go_on, chosen = threading.Event(), threading.Event(), {}

    def slowly(busy):
        choosing.set()
        assert go_on.wait(20)
        return first(2)(busy)

    def run(which, choose):
        connection = connect(archive_dsn)
        chosen[which.dag_id] = claim_videos(connection, which, lambda *_: True, choose).video_ids
        connection.close()

    one = threading.Thread(target=run, args=(DAILY, slowly))
    one.start()
    assert choosing.wait(20)
    two = threading.Thread(target=run, args=(BACKFILL, first(2)))
    two.start()
    two.join(0.5)
    assert two.is_alive()
    go_on.set()
    one.join(20)
    two.join(20)
    assert chosen == {"channel_ingest": ["v1", "v2"], "backfill": ["v3", "v4"]}


def test_a_choice_that_fails_lets_others_choose(archive, archive_dsn):
    def fail(busy):
        raise ValueError("no idea")

    with pytest.raises(ValueError, match="no idea"):
        claim_videos(archive, DAILY, lambda *_: True, fail)
    other = connect(archive_dsn)
    with other, other.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5s'")
    assert claim(other, BACKFILL, 1) == ["v1"]
    other.close()
