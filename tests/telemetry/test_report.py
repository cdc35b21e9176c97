from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from channelscribe.contracts import GpuSample, Manifest, Status, Video
from channelscribe.profiles import STAGES, get_profile
from channelscribe.telemetry.gpu_use import Range
from channelscribe.telemetry.report import run_report
from channelscribe.telemetry.report_text import to_markdown
from channelscribe.telemetry.run_times import PARTS, StageTime
from channelscribe.workspace import MANIFEST, Workspace, fingerprint

STARTED = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
PROFILE = get_profile("bundled")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def add_video(workspace, video_id, title=None):
    workspace.write_video(
        Video(
            video_id=video_id,
            source_id=video_id,
            url="http://x",
            title=title or f"About {video_id}",
            channel_url="http://x",
            channel_title="X",
        )
    )


def add_artifacts(
    workspace,
    video_id,
    stages=tuple(STAGES),
    *,
    audio_s=60.0,
    empty=False,
    finished_at=STARTED,
    device="cpu",
    gpu_samples=None,
    gpu_unavailable=None,
    **times,
):
    """Whole artifacts of the stages, as the workspace finds them; every one with the same times."""
    digests = {}
    for stage in stages:
        inputs = {name: digests[name] for name in STAGES[stage].inputs}
        spec = PROFILE.stages[stage]
        name = fingerprint(stage, spec, inputs)
        digests[stage] = f"{video_id}-{stage}"
        manifest = Manifest(
            channelscribe_version="0",
            stage=stage,
            stage_version=STAGES[stage].version,
            profile="bundled",
            video_id=video_id,
            fingerprint=name,
            digest=digests[stage],
            engine=spec.engine,
            model=spec.model,
            revision=spec.revision,
            parameters=dict(spec.parameters),
            inputs=inputs,
            outputs={},
            empty=empty and stage in ("identify_speakers", "embed_text"),
            device_requested=device,
            device_used=device,
            audio_s=audio_s,
            processing_s=times,
            peak_memory_bytes=0,
            gpu_samples=gpu_samples,
            gpu_unavailable=gpu_unavailable,
            metrics={},
            finished_at=finished_at,
        )
        folder = workspace.stage_dir(video_id, stage) / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(manifest.model_dump_json())


def report(workspace, selected, failed_stages=None, failed_channels=None, n_channels=1, n_listed=5):
    return run_report(
        workspace,
        PROFILE,
        selected,
        failed_stages or {},
        failed_channels or {},
        started_at=STARTED,
        n_channels=n_channels,
        n_listed=n_listed,
    )


def test_time_by_stage_is_a_ratio_of_sums(workspace):
    for video_id, audio_s, load, total in (("a", 600.0, 2.0, 10.0), ("b", 60.0, 0.0, 8.0)):
        add_video(workspace, video_id)
        later = STARTED + timedelta(minutes=1)
        parts = {"container": 0.25, "start": 0.5, "import": 1.0, "load": load, "decode": 3.0, "total": total}
        add_artifacts(workspace, video_id, audio_s=audio_s, finished_at=later, **parts)
    times = {time.stage: time for time in report(workspace, ["a", "b"]).stage_times}
    assert list(times) == list(STAGES)
    diarize = times["diarize"]
    assert (diarize.n_videos, diarize.audio_s) == (2, 660.0)
    # "decode" is within the total, and is not added to it again.
    assert (diarize.container_s, diarize.start_s, diarize.import_s, diarize.load_s) == (0.5, 1.0, 2.0, 2.0)
    assert (diarize.start_up_s, diarize.work_s, diarize.total_s) == (5.5, 18.0, 23.5)
    assert diarize.rtfx == pytest.approx(660.0 / 23.5)
    text = to_markdown(report(workspace, ["a", "b"]))
    assert "| diarize | 2 | 660.0 | 0.5 | 1.0 | 2.0 | 2.0 | 18.0 | 23.5 | 28.1 |" in text
    assert "Starts cost 23.4 % of the stages' time: 27.5 s of 117.5 s." in text
    assert "GPU" not in text


def test_work_of_earlier_runs_takes_no_time_of_this_one(workspace):
    add_video(workspace, "a")
    add_artifacts(workspace, "a", finished_at=STARTED - timedelta(seconds=1), total=5.0)
    result = report(workspace, ["a"])
    assert result.loaded == ("a",)
    assert result.stage_times == ()


def test_a_stage_without_time_has_no_rtfx(workspace):
    add_video(workspace, "a")
    add_artifacts(workspace, "a", ("fetch_audio",))
    (time,) = report(workspace, ["a"]).stage_times
    assert time.rtfx is None
    assert "| fetch_audio | 1 | 60.0 | 0.0 |" in to_markdown(report(workspace, ["a"]))
    assert "Starts cost" not in to_markdown(report(workspace, ["a"]))


def gpu_sample(at_s, span_s, sm, vram, temperature=None, power=None):
    return GpuSample(
        at_s=at_s, span_s=span_s, sm_percent=sm, vram_percent=vram, temperature_c=temperature, power_w=power
    )


def test_what_the_gpu_did_is_in_ranges_and_its_busy_share_the_mean_over_time(workspace):
    samples = {
        "a": (gpu_sample(1, 1, 0.0, 10.0, 40.0, 60.5), gpu_sample(4, 3, 80.0, 42.0, 71.0, 310.0)),
        "b": (gpu_sample(1, 1, 60.0, None, 65.0, 250.0), gpu_sample(2, 1, None, 40.0, None, 280.0)),
    }
    for video_id, found in samples.items():
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, device="cuda", gpu_samples=found, total=5.0)
    result = report(workspace, ["a", "b"])
    use = result.gpu_uses["diarize"]
    assert use.n_videos == 2
    assert use.busy_share == pytest.approx((3 * 0.8 + 0.6) / 5)
    assert use.sm_percent == Range(0.0, 60.0, 80.0)
    assert use.vram_percent == Range(10.0, 40.0, 42.0)
    assert use.temperature_c == Range(40.0, 65.0, 71.0)
    assert use.power_w == Range(60.5, 265.0, 310.0)
    text = to_markdown(result)
    assert "| stage | busy share | SM % | VRAM % | temperature, °C | power, W | energy, Wh |" in text
    wh = (60.5 + 3 * 310 + 250 + 280) / 3600
    assert use.energy_wh == pytest.approx(wh)
    assert f"| diarize | 0.60 | 0 / 60 / 80 | 10 / 40 / 42 | 40 / 65 / 71 | 60 / 265 / 310 | {wh:.2f} |" in text
    assert "GPU: unavailable" not in text


def test_a_gpu_that_could_not_be_watched_is_said_and_no_zero(workspace):
    for video_id in ("a", "b"):
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, device="cuda", gpu_unavailable="no driver answers", total=5.0)
    text = to_markdown(report(workspace, ["a", "b"]))
    assert text.count("- diarize: GPU: unavailable (no driver answers)") == 1
    assert "SM %" not in text


def test_figures_that_no_sample_has_are_unknown(workspace):
    add_video(workspace, "a")
    add_artifacts(workspace, "a", device="cuda", gpu_samples=(gpu_sample(1, 1, None, 5.0),), total=5.0)
    assert "| diarize | unknown | unknown | 5 / 5 / 5 | unknown | unknown | unknown |" in to_markdown(
        report(workspace, ["a"])
    )


def test_failures_are_named_with_stage_and_reason(workspace):
    for video_id in ("a", "b", "c"):
        add_video(workspace, video_id)
    workspace.write_status(
        Status(video_id="b", stage="diarize", state="failed", exit_code=65, reason="No sound track.", at=STARTED)
    )
    workspace.write_status(
        Status(video_id="c", stage="load", state="running", exit_code=None, reason="Running.", at=STARTED)
    )
    result = report(workspace, ["a", "b", "c"], {"b": "diarize", "c": "load"}, {"http://y": "There is no feed."})
    assert not result.ok
    assert result.loaded == ("a",)
    assert [(video.title, video.stage, video.reason) for video in result.failed] == [
        ("About b", "diarize", "No sound track."),
        ("About c", "load", "it gave no reason: see the log of its task"),
    ]
    assert result.summary == (
        "1 video loaded, 2 videos failed: About b (diarize: No sound track); "
        "About c (load: it gave no reason: see the log of its task), 1 channel failed: http://y (There is no feed)"
    )
    text = to_markdown(result)
    assert "| About b | b | diarize | No sound track. |" in text
    assert "| http://y | There is no feed. |" in text
    assert text.startswith("# 1 video loaded, 2 failed, 1 channel could not be polled\n")


def test_a_channel_whose_site_asks_for_patience_is_named_with_what_it_said_first(workspace):
    add_video(workspace, "a")
    add_video(workspace, "b")
    for video_id, reason in (("a", "Too many requests."), ("b", "It is not asked.")):
        workspace.write_status(
            Status(
                video_id=video_id, stage="fetch_audio", state="failed", exit_code=75, reason=reason, at=STARTED,
                rate_limited=True,
            )
        )  # fmt: skip
    result = report(workspace, ["a", "b"], {"a": "fetch_audio", "b": "fetch_audio"})
    assert result.refusals == {"http://x": "Too many requests."}
    assert result.unavailable == []


def test_videos_without_speech_are_counted(workspace):
    for video_id, empty in (("a", True), ("b", False)):
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, empty=empty, total=1.0)
    result = report(workspace, ["a", "b"])
    assert result.without_speech == ("a",)
    assert result.summary == "2 videos loaded, 1 of them without speech"


def test_nothing_new_and_nothing_to_poll_say_so(workspace):
    assert report(workspace, []).summary == "No new video: the archive has what was asked for (5 listed)."
    held = replace(report(workspace, []), n_waiting=4)
    assert held.summary == "No video was taken, and 4 wait: the report says why."
    assert report(workspace, []).ok
    assert "channelscribe channels add" in report(workspace, [], n_channels=0).summary


def test_a_title_cannot_break_the_table(workspace):
    add_video(workspace, "a", "One | two\nthree")
    assert "| One \\| two three | a | load |" in to_markdown(report(workspace, ["a"], {"a": "load"}))


def test_counts_are_the_reports(workspace):
    add_video(workspace, "a")
    assert report(workspace, ["a"], {"a": "load"}).counts == {
        "channels": 1,
        "failed_channels": 0,
        "listed": 5,
        "unavailable": 0,
        "waiting": 0,
        "held": 0,
        "selected": 1,
        "loaded": 0,
        "without_speech": 0,
        "failed": 1,
    }


def status(video_id, stage, seconds, **values):
    known = {"state": "done", "exit_code": 0, "reason": "Done.", "at": STARTED + timedelta(seconds=seconds)}
    return Status(video_id=video_id, stage=stage, **{**known, **values})


def test_the_time_of_a_video_is_split_into_parts_that_add_up(workspace):
    add_video(workspace, "a")
    parts = {"container": 1.0, "start": 0.5, "import": 2.0, "load": 3.0, "total": 10.0}
    add_artifacts(workspace, "a", finished_at=STARTED, wait=4.0, speaker_variance=2.5, **parts)
    workspace.write_status(status("a", "load", 100, took_s=0.5))
    (video,) = report(workspace, ["a"]).videos
    assert video.seconds == {
        "download": 6.0,  # the pause that the site wants is waiting
        "diarization": 10.0,
        "transcription": 10.0,
        "speaker_variance": 2.5,
        "identification": 7.5,
        "text_embedding": 10.0,
        "loading": 0.5,
        "container": 5.0,
        "start_up": 27.5,
        "waiting": 21.0,
    }
    assert sum(video.seconds.values()) == 100
    assert set(video.seconds) == set(PARTS)
    text = to_markdown(report(workspace, ["a"]))
    assert "| About a | 60.0 | 6.0 | 10.0 | 10.0 | 2.5 | 7.5 | 10.0 | 0.5 | 5.0 | 27.5 | 21.0 |" in text
    assert "| load | 1 | 60.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.5 | 0.5 | 120.0 |" in text


def test_of_tasks_that_are_cleared_a_day_later_the_night_is_no_waiting(workspace):
    add_video(workspace, "a")
    add_artifacts(workspace, "a", finished_at=STARTED + timedelta(days=1), total=10.0)
    workspace.write_status(status("a", "load", 24 * 3600 + 60, took_s=1.0))
    arguments = {"started_at": STARTED, "n_channels": 1, "n_listed": 1}
    again = run_report(workspace, PROFILE, ["a"], {}, {}, attempt_at=STARTED + timedelta(days=1), **arguments)
    assert sum(again.videos[0].seconds.values()) == 60
    # Of a video that an earlier attempt was through with, this one does not know what it waited.
    last = run_report(workspace, PROFILE, ["a"], {}, {}, attempt_at=STARTED + timedelta(days=2), **arguments)
    assert "waiting" not in last.videos[0].seconds


def test_the_whole_is_a_ratio_of_sums(workspace):
    for video_id, audio_s in (("a", 3000.0), ("b", 600.0)):
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, audio_s=audio_s, total=10.0)
    add_video(workspace, "c")  # nothing was to be done for it
    add_artifacts(workspace, "c", audio_s=6000.0, finished_at=STARTED - timedelta(days=1), total=10.0)
    result = replace(report(workspace, ["a", "b", "c"]), elapsed_s=1800.0)
    assert result.audio_s == 3600
    assert result.rtfx == 36
    assert result.audio_per_hour == 2
    assert "- 1.00 h of audio in 0:30:00: RTFx 36.0, 2.0 hours of audio per hour.\n" in to_markdown(result)
    assert result.figures["diarize RTFx"] == 180


def test_what_was_not_taken_is_said_with_why(workspace):
    result = replace(report(workspace, []), skipped={"in the archive already": 4, "members only": 1})
    assert "| in the archive already | 4 |\n| members only | 1 |" in to_markdown(result)


def gpu_manifest(workspace, video_id, at_s, *samples):
    """What a stage made that ended so many seconds after the run began."""
    add_video(workspace, video_id)
    finished_at = STARTED + timedelta(seconds=at_s)
    total = sum(sample.span_s for sample in samples)
    add_artifacts(
        workspace, video_id, ("fetch_audio",), device="cuda", gpu_samples=samples, finished_at=finished_at, total=total
    )


def test_over_a_run_stages_at_once_are_one_gpu_and_the_time_between_them_is_idle(workspace):
    gpu_manifest(
        workspace, "a", 14, gpu_sample(2, 2, 100.0, 10.0, 50.0, 300.0), gpu_sample(4, 2, 50.0, 20.0, 60.0, 200.0)
    )
    gpu_manifest(workspace, "b", 12, gpu_sample(2, 2, 60.0, 30.0, 40.0, 100.0))  # beside the first sample of a
    gpu_manifest(workspace, "c", 20, gpu_sample(2, 2, 80.0, 5.0, 45.0, 150.0))
    gpu = report(workspace, ["a", "b", "c"]).gpu
    assert [(moment.at_s, moment.sm_percent, moment.vram_percent, moment.power_w) for moment in gpu.moments] == [
        (11, 80, 30, 200), (12, 80, 30, 200), (13, 50, 20, 200), (14, 50, 20, 200), (19, 80, 5, 150), (20, 80, 5, 150),
    ]  # fmt: skip
    assert gpu.busy_share == pytest.approx((2 * 0.8 + 2 * 0.5 + 2 * 0.8) / 10)
    assert gpu.energy_wh == pytest.approx((4 * 200 + 2 * 150) / 3600)
    text = to_markdown(report(workspace, ["a", "b", "c"]))
    assert "- The GPU was busy 42 % of the time from its first stage to its last, 0.3 Wh.\n" in text


def test_of_a_long_run_there_are_as_many_moments_as_fit_and_no_energy_is_lost(workspace):
    gpu_manifest(workspace, "a", 2000, *(gpu_sample(at, 1, 90.0, 10.0, 50.0, 360.0) for at in range(1, 2001)))
    gpu = report(workspace, ["a"]).gpu
    assert len(gpu.moments) == 200
    assert gpu.energy_wh == pytest.approx(200.0)
    assert gpu.busy_share == pytest.approx(0.9)


def test_a_gpu_that_does_not_say_how_busy_it_is_was_not_idle(workspace):
    gpu_manifest(workspace, "a", 10, gpu_sample(5, 5, None, 10.0), gpu_sample(10, 5, 100.0, 10.0))
    gpu = report(workspace, ["a"]).gpu
    assert gpu.busy_share == pytest.approx(1.0)
    assert gpu.energy_wh is None


def test_texts_and_tokens_by_the_second_are_without_starts():
    time = StageTime("embed_text", 1, 60.0, 0.0, 1.0, 2.0, 3.0, 2.0, n_texts=90, n_tokens=3000, embedding_s=0.25)
    assert (time.texts_per_s, time.tokens_per_s) == (360, 12000)
    assert StageTime("embed_text", 1, 60.0, 0.0, 1.0, 2.0, 3.0, 2.0).texts_per_s is None
