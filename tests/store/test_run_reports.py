"""Reports of runs in the archive: what was written is what is read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from channelscribe.contracts import GpuSample
from channelscribe.errors import BadInputError
from channelscribe.store.queries import record_ingest_run
from channelscribe.store.runs.reports import find_run, full_report, list_runs, save_failure, save_report, seconds_so_far
from channelscribe.telemetry.gpu_use import GpuRun, GpuUse, Range
from channelscribe.telemetry.report import FailedVideo, RunReport
from channelscribe.telemetry.report_text import to_markdown
from channelscribe.telemetry.run_times import StageTime, VideoTime

BEGAN = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)

MOMENT = GpuSample(at_s=2, span_s=1, sm_percent=50, vram_percent=None, temperature_c=40, power_w=9)


def made(number: int = 1, diarize_s: float = 60.0, **changes) -> RunReport:
    """The report of a run that loaded one video, and failed at another."""
    report = RunReport(
        n_channels=2, n_listed=40, n_waiting=3, n_unavailable=1,
        loaded=("a",), without_speech=("a",),
        failed=(FailedVideo("b", "About | b", "transcribe", "Out of \x00memory."),),
        failed_channels={"https://x.example/feed": "There is no feed."},
        failed_discovery="It gave up.",
        stage_times=(
            StageTime("fetch_audio", 2, 700.0, 0.0, 0.1, 0.0, 0.0, 5.0),
            StageTime("diarize", 1, 600.0, 1.0, 2.0, 3.0, 4.0, diarize_s - 10),
            StageTime("embed_text", 1, 600.0, 0.0, 0.0, 0.0, 0.0, 3.0, n_texts=90, n_tokens=9000, embedding_s=0.5),
            StageTime("load", 1, 600.0, 0.0, 0.0, 0.0, 0.0, 0.5),
        ),
        gpu_uses={
            "diarize": GpuUse(1, 0.7, Range(1, 2, 3), None, Range(40, 50, 60), Range(60, 61, 300), ("no driver",), 1.5)
        },
        run_id=f"channel_ingest/manual__{number}", profile="gpu", started_at=BEGAN + timedelta(days=number),
        elapsed_s=120.0, audio_s=600.0, skipped={"in the archive already": 36},
        videos=(
            VideoTime("a", "About a", 0, 600.0, {"download": 3.0, "diarization": 50.0, "waiting": 9.0}),
            VideoTime("b", "About | b", 1, None, {"download": 2.0}),
        ),
        gpu=GpuRun(0.5, 1.75, (MOMENT,)),
    )  # fmt: skip
    return replace(report, **changes)


def keep(archive, report: RunReport, attempt_at: datetime | None = None) -> None:
    save_report(archive, report, attempt_at or report.started_at)


def test_what_is_written_is_what_is_read(archive):
    report = made()
    keep(archive, report)
    read = full_report(archive, find_run(archive, None))
    failed = (replace(report.failed[0], reason="Out of memory."),)  # what Postgres cannot hold is left out
    expected = replace(report, failed=failed)
    assert replace(read, nothing=None, compared=()) == expected
    assert to_markdown(replace(read, compared=())) == to_markdown(expected)
    assert read.counts == report.counts


def test_a_second_report_of_a_run_takes_the_place_of_the_first(archive):
    keep(archive, made())
    later = BEGAN + timedelta(days=2)
    again = made(loaded=("a", "b"), failed=(), failed_channels={}, failed_discovery=None, gpu=None, gpu_uses={})
    again = replace(
        again, videos=(replace(again.videos[0], seconds={"loading": 1.0}), again.videos[1]), elapsed_s=150.0
    )
    assert seconds_so_far(archive, again.run_id, later) == 120.0
    keep(archive, again, later)
    read = full_report(archive, find_run(archive, "manual__1"))
    assert (read.ok, read.loaded, read.gpu, read.gpu_uses) == (True, ("a", "b"), None, {})
    # What it waited is known from the attempt that ended it.
    assert read.videos[0].seconds == {"loading": 1.0, "waiting": 9.0}
    assert read.started_at == made().started_at
    # The report alone once more, in the same attempt: the first attempt's seconds still count once.
    assert seconds_so_far(archive, again.run_id, later) == 120.0


def test_a_run_is_compared_with_the_last_ten_of_its_profile(archive):
    for number, seconds in enumerate([1000.0, *[100.0] * 4, 120.0, *[80.0] * 5]):
        keep(archive, made(number, seconds))
    keep(archive, made(50, 1.0, profile="bundled"))
    keep(archive, made(11, 150.0))
    compared = {one.figure: one for one in full_report(archive, find_run(archive, "manual__11")).compared}
    # Of seconds the median of the last ten is (100 + 80) / 2; of RTFx likewise. The slow first run is the eleventh.
    diarize = compared["diarize RTFx"]
    assert (diarize.value, diarize.n_runs) == (4.0, 10)
    assert diarize.median == pytest.approx((6.0 + 7.5) / 2)
    assert diarize.sentence == "diarize RTFx 4.0, 41 % below the median of the last 10 (6.8)"
    assert compared["texts/s"].change == 0
    assert not compared["texts/s"].notable
    text = to_markdown(full_report(archive, find_run(archive, "manual__11")))
    assert "- diarize RTFx 4.0, 41 % below the median of the last 10 (6.8).\n" in text
    assert "- texts/s" not in text


def test_a_run_of_fewer_stages_is_not_compared_as_a_whole(archive):
    for number in range(3):
        keep(archive, made(number))
    keep(archive, made(4, stage_times=made().stage_times[1:2]))
    compared = {one.figure: one for one in full_report(archive, find_run(archive, None)).compared}
    assert compared["diarize RTFx"].median == pytest.approx(10.0)
    assert compared["RTFx"].median is None
    assert compared["RTFx"].sentence == "RTFx 10.0, too few runs before to compare it to"


def test_a_run_that_is_not_there_is_refused_with_those_that_are(archive):
    with pytest.raises(BadInputError, match="There is no report yet"):
        find_run(archive, None)
    with pytest.raises(BadInputError, match=r"There is no run nothing\. The last ones: none at all\."):
        find_run(archive, "nothing")
    keep(archive, made(1))
    keep(archive, made(2))
    with pytest.raises(BadInputError, match=r"The last ones: channel_ingest/manual__2, channel_ingest/manual__1\."):
        find_run(archive, "manual__3")
    keep(archive, made(2, run_id="backfill/manual__2"))
    with pytest.raises(BadInputError, match="is the id of several runs: "):
        find_run(archive, "manual__2")
    assert find_run(archive, "backfill/manual__2").dag_id == "backfill"


def test_runs_without_a_report_are_listed(archive):
    record_ingest_run(archive, "channel_ingest/one", "running")
    save_failure(archive, "channel_ingest/two", "choose_channels failed: no.")
    one, two = sorted(list_runs(archive, 10), key=lambda run: run.run_id)
    assert (one.state, two.state, two.summary) == ("running", "failed", "choose_channels failed: no.")
    assert full_report(archive, one) is full_report(archive, two) is None
