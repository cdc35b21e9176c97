"""What a redo takes on, from real artifacts and a real archive. Planning changes neither."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

import pytest

from channelscribe.errors import BadInputError
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA
from channelscribe.store.redo import REDO_STAGES, RedoRequest, plan_redo

LATER = ("identify_speakers", "embed_text")
CHANNEL = "https://www.youtube.com/@classics/videos"
TWO = (("SPEAKER_00", 0.0, "It was the best of times"), ("SPEAKER_01", 5.0, "it was the worst of times"))


@pytest.fixture
def add(studio, script):
    """Write and load a video whose stages were done on a day of January 2026."""

    def load(video_id, day=2, **arguments):
        studio.add(script(TWO, video_id, video={"channel_url": CHANNEL, **arguments.pop("video", {})}, **arguments))
        shift = timedelta(days=day - 2)
        studio.rows("UPDATE stage_runs SET finished_at = finished_at + %s WHERE video_id = %s", shift, video_id)
        for path in (studio.workspace.video_dir(video_id)).glob("*/*/manifest.json"):
            path.write_text(path.read_text().replace("2026-01-02T", f"2026-01-{day:02}T"))

    return load


def plan(studio, profile=BUNDLED, **request):
    return plan_redo(studio.connection, studio.workspace, profile, RedoRequest(**request))


def to_do(found):
    return {one.video.video_id: one.stages for one in found.redo}


def other_transcriber(profile=BUNDLED):
    spec = replace(profile.stages["transcribe"], model="other")
    return replace(profile, name="other", stages=MappingProxyType({**profile.stages, "transcribe": spec}))


def test_nothing_is_to_do_where_the_archive_has_what_the_profile_makes(studio, add):
    add("v1")
    found = plan(studio)
    assert (found.redo, found.n_fitting, found.n_channels) == ([], 1, 1)
    assert found.headline == "Nothing to redo with the profile bundled: 1 video looked at."
    assert plan(studio, BUNDLED_CUDA).redo == []  # the device is no part of a result


def test_a_channel_that_is_in_another_language_now_is_transcribed_again(studio, add):
    add("v1")
    studio.rows('UPDATE channels SET options = options || \'{"language": "de"}\'')
    (one,) = plan(studio).redo
    assert one.stages == ("transcribe", *LATER)
    assert one.video.language == "de"
    assert studio.workspace.read_video("v1").language is None  # a plan changes nothing


def test_planning_changes_nothing(studio, add):
    add("v1")
    before = studio.snapshot(), sorted(studio.workspace.data_root.rglob("*"))
    assert plan(studio, stages=frozenset({"transcribe"})).redo
    assert (studio.snapshot(), sorted(studio.workspace.data_root.rglob("*"))) == before


def test_another_model_is_to_do_with_what_depends_on_it(studio, add):
    add("v1")
    assert to_do(plan(studio, other_transcriber())) == {"v1": ("transcribe", *LATER)}
    assert to_do(plan(studio, stages=frozenset({"diarize"}))) == {"v1": REDO_STAGES}
    assert to_do(plan(studio, stages=frozenset({"embed_text"}))) == {"v1": ("embed_text",)}


def test_what_is_there_and_was_not_loaded_only_has_to_be(studio, add, script):
    add("v1")
    studio.write(script(TWO, "v1", profile=other_transcriber()))
    assert to_do(plan(studio, other_transcriber())) == {"v1": ()}
    assert "load what is there" in plan(studio, other_transcriber()).to_markdown()


def test_a_result_that_was_made_again_but_not_loaded_is_noticed(studio, add):
    add("v1")
    (manifest,) = studio.workspace.stage_dir("v1", "transcribe").glob("*/manifest.json")
    manifest.write_text(manifest.read_text().replace("2026-01-02T", "2026-01-09T"))
    assert to_do(plan(studio)) == {"v1": ()}


def test_a_video_without_speech_is_not_redone_for_ever(studio, script):
    silent = script((), "silent")
    stages = ("fetch_audio", "diarize", "transcribe", "identify_speakers", "embed_text")
    studio.write(silent, stages=stages[:3], empty=stages[1:])
    studio.load(silent)
    assert plan(studio).redo == []
    assert to_do(plan(studio, stages=frozenset({"transcribe"}))) == {"silent": ("transcribe", *LATER)}


def test_a_video_without_its_audio_is_named_and_left_out(studio, add):
    for video_id in ("v1", "v2", "v3"):
        add(video_id)
    shutil.rmtree(studio.workspace.stage_dir("v1", "fetch_audio"))
    (studio.workspace.video_dir("v2") / "video.json").unlink()
    found = plan(studio, stages=frozenset({"embed_text"}))
    assert found.video_ids == ["v3"]
    assert {video_id for _, video_id in found.without_audio} == {"v1", "v2"}
    text = found.to_markdown()
    assert "their audio is gone (ingest them again" in text and "- Title of v1 (v1)" in text


def test_those_done_longest_ago_come_first_and_the_rest_waits(studio, add):
    for video_id, day in (("v1", 5), ("v2", 3), ("v3", 4)):
        add(video_id, day)
    found = plan(studio, stages=frozenset({"embed_text"}))
    assert found.video_ids == ["v2", "v3", "v1"]
    first = found.first(1)
    assert (first.video_ids, first.n_waiting) == (["v2"], 2)
    assert first.headline == "1 video to redo with the profile bundled, 0.0 h, 2 more wait for the next run"
    assert found.first(2, {"v2"}).video_ids == ["v3", "v1"]
    assert found.first(2, {"v2"}).n_waiting == 1
    assert found.first(9, {"v1", "v2", "v3"}).headline.endswith("3 more wait for the next run")
    # Run after run: what was done since is left out.
    rest = plan(studio, stages=frozenset({"embed_text"}), done_before=date(2026, 1, 4))
    assert rest.video_ids == ["v2"]
    assert plan(studio, stages=frozenset({"embed_text"}), done_before=date(2026, 1, 3)).redo == []


def test_channels_and_since_choose(studio, add):
    add("v1", video={"published_at": datetime(2026, 5, 1, 23, tzinfo=UTC)})
    add("v2", video={"published_at": datetime(2026, 5, 2, tzinfo=UTC)})
    add("v3", video={"published_at": None})
    add("v4", video={"channel_url": "https://example.org/feed", "published_at": datetime(2026, 6, 1, tzinfo=UTC)})
    stages = frozenset({"embed_text"})

    def chosen(**request):
        return set(plan(studio, stages=stages, **request).video_ids)

    assert chosen() == {"v1", "v2", "v3", "v4"}
    assert chosen(since=date(2026, 5, 2)) == {"v2", "v3", "v4"}
    assert chosen(channels=("@classics",)) == {"v1", "v2", "v3"}
    assert chosen(channels=("@classics", "https://example.org/feed"), since=date(2026, 5, 2)) == {"v2", "v3", "v4"}
    # An item that several channels list is of each.
    studio.rows(
        "INSERT INTO listed_videos SELECT video_id, source_id, url, title, NULL, NULL, 'video', 'public' FROM videos"
    )
    studio.rows(
        "INSERT INTO channel_items SELECT channel_id, 'v1', 1 FROM channels WHERE url = 'https://example.org/feed'"
    )
    assert chosen(channels=("https://example.org/feed",)) == {"v1", "v4"}
    nothing = plan(studio, channels=("https://example.org/feed",), since=date(2030, 1, 1))
    assert nothing.headline == "Nothing to redo: no video of the archive is of these channels and that age."


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("https://example.org/feed", r"has no video of https://example.org/feed: name a channel as `channelscribe"),
        ("@nobody", r"has no video of https://www.youtube.com/@nobody/videos"),
        ("ftp://x", "only http and https"),
    ],
)
def test_a_wrong_channel_is_one_line(studio, add, channel, reason):
    add("v1")
    with pytest.raises(BadInputError, match=reason) as caught:
        plan(studio, channels=("@classics", channel))
    assert "\n" not in str(caught.value)


def test_the_time_is_estimated_from_what_the_stages_took(studio, add):
    add("v1")
    add("v2")
    # 60 s of audio in 10 s, each.
    text = plan(studio, stages=frozenset({"identify_speakers"})).to_markdown()
    assert "| identify_speakers | 2 | 0 | 0.0 | 6.0 | 0.01 |" in text
    assert "| transcribe | 0 | 2 | 0.0 | 6.0 | 0.00 |" in text
    assert "About 0.01 h of work at most, if one is done after the other." in text
    assert "| Title of v1 | v1 | 1.0 | identify_speakers, embed_text |" in text
    text = plan(studio, other_transcriber()).to_markdown()
    assert "| transcribe | 2 | 0 | 0.0 | 6.0 (another model) | 0.01 |" in text
    assert "; a guess as to transcribe, which the archive has no times of" in text
    studio.rows("DELETE FROM stage_runs WHERE stage = 'transcribe'")
    assert "| transcribe | 2 | 0 | 0.0 |  | unknown |" in plan(studio, other_transcriber()).to_markdown()
