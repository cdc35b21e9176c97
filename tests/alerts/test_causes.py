from datetime import UTC, datetime

import pytest

from channelscribe.alerts.causes import Download, causes_of, cold_starts, pool_full
from channelscribe.contracts import Progress


def progress(**values: object) -> Progress:
    figures: dict[str, object] = {
        "part": "work", "at": datetime(2026, 1, 1, tzinfo=UTC), "elapsed_s": 100.0, "work_s": 90.0, "start_up_s": 10.0,
        "device_requested": "cpu", "device_used": "cpu", "cpu_s": 95.0, "cpu_wait_s": 3.0, "gpu_busy_share": None,
        "gpu_span_s": 0.0,
    }  # fmt: skip
    return Progress.model_validate(figures | values)


def on_gpu(**values: object) -> Progress:
    return progress(
        **{
            "device_requested": "cuda", "device_used": "cuda", "cpu_s": 5.0, "gpu_busy_share": 0.8, "gpu_span_s": 60.0,
        } | values
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "seen", "names"),
    [
        ("cpu", progress(), []),
        ("cpu", None, []),
        ("cuda", on_gpu(), []),
        ("cuda", on_gpu(gpu_busy_share=0.01), ["gpu_idle"]),
        # A second of samples says nothing yet.
        ("cuda", on_gpu(gpu_busy_share=0.0, gpu_span_s=1.0), []),
        ("cuda", progress(), ["wrong_device"]),
        ("cuda", on_gpu(gpu_busy_share=0.01, cpu_wait_s=50.0), ["processor_short", "gpu_idle"]),
        ("cpu", progress(cpu_s=20.0, cpu_wait_s=80.0), ["processor_short"]),
        ("cpu", progress(cpu_s=4.0, cpu_wait_s=None), ["hardly_computes"]),
        ("cpu", progress(part="start", work_s=0.0, start_up_s=100.0, device_used=None), ["cold_start"]),
        ("cpu", progress(work_s=20.0, start_up_s=80.0), ["cold_start"]),
    ],
)
def test_what_a_stage_says_of_itself_gives_the_cause(device: str, seen: Progress | None, names: list[str]) -> None:
    assert [cause.name for cause in causes_of(device, seen)] == names


def test_sentences_hold_the_figures() -> None:
    (idle,) = causes_of("cuda", on_gpu(gpu_busy_share=0.012))
    assert idle.sentence == "The GPU is idle: 1% busy over the last 1 min, in the part 'work'."
    (short,) = causes_of("cpu", progress(cpu_s=20.0, cpu_wait_s=90.0))
    assert "for each second of computing it waits 4.5 s for a core" in short.sentence


@pytest.mark.parametrize(
    ("seen", "name", "words"),
    [
        (Download(0, 40, has_begun=False), "waits_for_turn", "waits for its turn"),
        (Download(0, 40, has_begun=True), "download_slow", "0.0 KiB/s over 40 s"),
        (Download(102_400, 10, has_begun=True), "download_slow", "10.0 KiB/s over 10 s."),
        (Download(102_400, 10, True, 3 * 2**20), "download_slow", "10.0 KiB/s over 10 s; before, it was 3.0 MiB/s."),
        (
            Download(102_400, 10, True, None, 10_240),
            "download_slow",
            "DOWNLOAD_KIB_PER_S allows 10.0 KiB/s",
        ),
        (Download(30 * 2**20, 10, True, 3 * 2**20), "large_download", "about as fast as usual"),
    ],
)
def test_what_a_download_does_gives_the_cause(seen: Download, name: str, words: str) -> None:
    (cause,) = causes_of("cpu", progress(cpu_s=0.1), seen)
    assert cause.name == name
    assert words in cause.sentence


def test_a_full_pool_is_named_with_what_fills_it() -> None:
    taken = {"diarize": 2, "transcribe": 1}
    cause = pool_full("vram_gib", 4, taken, 2, ["identify_speakers", "embed_text"])
    assert cause is not None
    assert cause.sentence == (
        "The pool vram_gib is full: 3 of 4 slots are taken by diarize (2), transcribe (1); 2 wait for 2 or more."
    )
    assert pool_full("vram_gib", 5, taken, 2, ["embed_text"]) is None
    assert pool_full("vram_gib", 3, taken, 0, []) is None
    assert pool_full("vram_gib", float("inf"), taken, 2, ["embed_text"]) is None


def test_cold_starts_are_most_of_a_runs_time() -> None:
    assert cold_starts(40, 100) is None
    assert cold_starts(0, 0) is None
    cause = cold_starts(52.3, 100)
    assert cause is not None and "52% of the stages' time" in cause.sentence
