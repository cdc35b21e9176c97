from datetime import UTC, datetime, timedelta

import pytest

from channelscribe.contracts import GpuSample, Manifest, Status, Video
from channelscribe.profiles import STAGES, get_profile
from channelscribe.telemetry.gpu_use import Range
from channelscribe.telemetry.report import run_report
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
    text = report(workspace, ["a", "b"]).to_markdown()
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
    assert "| fetch_audio | 1 | 60.0 | 0.0 |" in report(workspace, ["a"]).to_markdown()
    assert "Starts cost" not in report(workspace, ["a"]).to_markdown()


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
    text = result.to_markdown()
    assert "| stage | busy share | SM % | VRAM % | temperature, °C | power, W |" in text
    assert "| diarize | 0.60 | 0 / 60 / 80 | 10 / 40 / 42 | 40 / 65 / 71 | 60 / 265 / 310 |" in text
    assert "unavailable" not in text


def test_a_gpu_that_could_not_be_watched_is_said_and_no_zero(workspace):
    for video_id in ("a", "b"):
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, device="cuda", gpu_unavailable="no driver answers", total=5.0)
    text = report(workspace, ["a", "b"]).to_markdown()
    assert text.count("- diarize: GPU: unavailable (no driver answers)") == 1
    assert "SM %" not in text


def test_figures_that_no_sample_has_are_unknown(workspace):
    add_video(workspace, "a")
    add_artifacts(workspace, "a", device="cuda", gpu_samples=(gpu_sample(1, 1, None, 5.0),), total=5.0)
    assert "| diarize | unknown | unknown | 5 / 5 / 5 | unknown | unknown |" in report(workspace, ["a"]).to_markdown()


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
    text = result.to_markdown()
    assert "| About b | b | diarize | No sound track. |" in text
    assert "| http://y | There is no feed. |" in text
    assert text.startswith("# 1 video loaded, 2 failed, 1 channel could not be polled\n")


def test_videos_without_speech_are_counted(workspace):
    for video_id, empty in (("a", True), ("b", False)):
        add_video(workspace, video_id)
        add_artifacts(workspace, video_id, empty=empty, total=1.0)
    result = report(workspace, ["a", "b"])
    assert result.without_speech == ("a",)
    assert result.summary == "2 videos loaded, 1 of them without speech"


def test_nothing_new_and_nothing_to_poll_say_so(workspace):
    assert report(workspace, []).summary == "No new video: the archive has what was asked for (5 listed)."
    assert report(workspace, []).ok
    assert "CHANNELSCRIBE_CHANNELS" in report(workspace, [], n_channels=0).summary


def test_a_title_cannot_break_the_table(workspace):
    add_video(workspace, "a", "One | two\nthree")
    assert "| One \\| two three | a | load |" in report(workspace, ["a"], {"a": "load"}).to_markdown()


def test_counts_are_the_reports(workspace):
    add_video(workspace, "a")
    assert report(workspace, ["a"], {"a": "load"}).counts == {
        "channels": 1,
        "failed_channels": 0,
        "listed": 5,
        "selected": 1,
        "loaded": 0,
        "without_speech": 0,
        "failed": 1,
    }
