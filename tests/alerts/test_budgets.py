import pytest

from channelscribe.alerts.budgets import LEAST_S, Usual, audio_seconds, budget_of, duration, usual_of
from channelscribe.contracts import Video
from channelscribe.profiles import BUNDLED, PROFILES
from channelscribe.workspace import Workspace


def test_audio_times_the_usual_times_the_factor_and_the_start() -> None:
    budget = budget_of(1800, Usual(work_s_per_min=2.0, start_s=12.0, n_videos=7), factor=3)
    assert budget.seconds == 30 * 2.0 * 3 + 12
    assert budget.reason == "30 min of audio at 2 s a minute (the median of 7 before), times 3, and 12 s to start"


def test_a_few_seconds_of_audio_are_never_slow_at_once() -> None:
    budget = budget_of(5, Usual(2.0, 1.0, 3), factor=3)
    assert budget.seconds == LEAST_S
    assert budget.reason.endswith("30 s at the least")


def test_the_profiles_figures_hold_until_there_are_runs() -> None:
    learned = {"diarize": Usual(9.0, 1.0, 4)}
    assert usual_of(BUNDLED, "diarize", learned) is learned["diarize"]
    figures = usual_of(BUNDLED, "transcribe", learned)
    assert (figures.work_s_per_min, figures.n_videos) == (BUNDLED.stages["transcribe"].work_s_per_min, 0)
    assert "the profile's figure" in budget_of(600, figures, 3).reason


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_budget_of_the_longest_item_ends_before_the_hard_limit(profile) -> None:
    for stage, spec in profile.stages.items():
        usual = Usual(spec.work_s_per_min, spec.start_s)
        assert budget_of(12 * 3600, usual, 3).seconds < spec.hard_limit_min * 60, stage


def test_length_is_as_listed_or_else_guessed(tmp_path) -> None:
    workspace = Workspace(tmp_path)
    for video_id, duration_s in (("known", 120.0), ("unknown", None)):
        workspace.write_video(
            Video(
                video_id=video_id, source_id="x", url="http://x", title="X", channel_url="http://x", channel_title="X",
                duration_s=duration_s,
            )
        )  # fmt: skip
    assert audio_seconds(workspace, ["known"], BUNDLED) == 120
    assert audio_seconds(workspace, ["known", "unknown", "nobody"], BUNDLED) == 120 + 2 * 1800


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (725, "12 min"),
        (7500, "2 h 05 min"),
        (-3, "0 s"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
