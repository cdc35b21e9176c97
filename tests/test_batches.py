import pytest

from channelscribe import batches
from channelscribe.contracts import Video
from channelscribe.profiles import BUNDLED, BUNDLED_CUDA
from channelscribe.settings import Settings
from channelscribe.workspace import Workspace


def videos(*minutes):
    return [
        Video(
            video_id=f"v{number}", source_id=str(number), url="http://x/", title=f"Title {number}",
            channel_url="http://x/", channel_title="X", duration_s=None if length is None else length * 60,
        )
        for number, length in enumerate(minutes)
    ]  # fmt: skip


def build(minutes, profile=BUNDLED, **settings):
    return batches.build(videos(*minutes), profile, Settings(_env_file=None, **settings))


def sizes(*arguments, **named):
    return [len(batch) for batch in build(*arguments, **named)]


def test_no_video_is_no_batch():
    assert build([]) == []


def test_on_a_cpu_and_in_a_short_run_a_video_each():
    assert build([33, 33]) == [["v0"], ["v1"]]
    assert sizes([33] * 30) == [1] * 30
    assert sizes([300, 5, 5, None]) == [1] * 4
    assert sizes([33] * 10, BUNDLED_CUDA) == [1] * 10


def test_an_import_on_a_gpu_takes_ten_hours_at_most_in_equal_batches():
    assert sizes([33] * 30, BUNDLED_CUDA) == [15, 15]
    assert sizes([33] * 12, BUNDLED_CUDA) == [12]


def test_every_gpu_gets_a_batch():
    assert sizes([33] * 12, BUNDLED_CUDA, gpus=("0", "1")) == [6, 6]
    assert sizes([33] * 12, BUNDLED_CUDA, gpus=("0", "1", "2")) == [4, 4, 4]


def test_the_setting_decides_and_order_and_all_videos_stay():
    lengths = [50, 20, 41, 10, 300, 5]
    built = build(lengths, batch_minutes=60)
    assert built == [["v0"], ["v1", "v2"], ["v3"], ["v4"], ["v5"]]
    assert [video_id for batch in built for video_id in batch] == [f"v{number}" for number in range(6)]
    assert build(lengths, batch_minutes=1000) == [[f"v{number}" for number in range(6)]]


@pytest.mark.parametrize("lengths", [[0.1] * 7, [1e-6, 600], [600, 1e-6], [7.3] * 101, [1.0]])
@pytest.mark.parametrize("minutes", [1, 60, 1440])
def test_no_video_is_lost_or_doubled_whatever_the_lengths(lengths, minutes):
    built = build(lengths, batch_minutes=minutes)
    assert [video_id for batch in built for video_id in batch] == [f"v{number}" for number in range(len(lengths))]
    assert all(built)


def test_videos_of_unknown_length_are_not_taken_for_empty():
    assert sizes([None] * 4, batch_minutes=60) == [2, 2]


@pytest.mark.parametrize("missing", [[], ["nobody"]])
def test_titles_are_for_people(tmp_path, missing):
    workspace = Workspace(tmp_path)
    for video in videos(1, 1):
        workspace.write_video(video)
    assert batches.title(workspace, ["v0"]) == "Title 0"
    expected = "; ".join(["Title 0", "Title 1", *missing])
    assert batches.title(workspace, ["v0", "v1", *missing]) == f"{2 + len(missing)} videos: {expected}"
