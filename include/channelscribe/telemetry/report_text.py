"""A run's report as Markdown, for a log or a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from channelscribe.telemetry.comparison import Comparison, figure_text
from channelscribe.telemetry.gpu_use import GpuUse, Range
from channelscribe.telemetry.report import RunReport
from channelscribe.telemetry.run_times import PARTS, StageTime, VideoTime
from channelscribe.wording import cell

# The slowest ones: a run may have a thousand, and the archive keeps all.
MOST_VIDEOS = 30


def to_markdown(report: RunReport) -> str:
    """The whole report."""
    return "\n".join(_lines(report))


def _lines(report: RunReport) -> Iterator[str]:
    yield f"# {report.headline}"
    if sentences := [*_whole(report), *_notable(report.compared)]:
        yield from ("", *(f"- {sentence}" for sentence in sentences))
    yield ""
    yield "| " + " | ".join(name.replace("_", " ") for name in report.counts) + " |"
    yield "|" + " ---: |" * len(report.counts)
    yield "| " + " | ".join(str(count) for count in report.counts.values()) + " |"
    if report.skipped:
        yield from ("", "| not taken | videos |", "| --- | ---: |")
        yield from (f"| {cell(why)} | {number} |" for why, number in report.skipped.items())
    yield from _failure_lines(report)
    if report.stage_times:
        yield from ("", *_time_lines(report.stage_times))
    if any(one.median is not None for one in report.compared):
        yield from ("", *_comparison_lines(report.compared))
    if any(video.seconds for video in report.videos):
        yield from ("", *_video_lines(report.videos))
    if report.gpu_uses:
        yield from ("", *_gpu_lines(report.gpu_uses))


def _whole(report: RunReport) -> Iterator[str]:
    """What is to be said of the run as a whole."""
    if report.audio_s:
        took = f" in {clock(report.elapsed_s)}" if report.elapsed_s else ""
        rates = []
        if report.rtfx is not None:
            rates.append(f"RTFx {figure_text(report.rtfx)}")
        if report.audio_per_hour is not None:
            rates.append(f"{figure_text(report.audio_per_hour)} hours of audio per hour")
        yield f"{report.audio_s / 3600:.2f} h of audio{took}" + (f": {', '.join(rates)}." if rates else ".")
    for time in report.stage_times:
        if time.texts_per_s is not None and time.tokens_per_s is not None:
            rates = [f"{figure_text(time.texts_per_s)} texts/s", f"{figure_text(time.tokens_per_s)} tokens/s"]
            yield f"{time.stage}: {time.n_texts} texts, {', '.join(rates)}."
    if report.gpu:
        busy = "an unknown share" if report.gpu.busy_share is None else f"{100 * report.gpu.busy_share:.0f} %"
        energy = "" if report.gpu.energy_wh is None else f", {report.gpu.energy_wh:.1f} Wh"
        yield f"The GPU was busy {busy} of the time from its first stage to its last{energy}."


def _notable(compared: Sequence[Comparison]) -> Iterator[str]:
    yield from (f"{one.sentence}." for one in compared if one.notable)


def _failure_lines(report: RunReport) -> Iterator[str]:
    if report.failed:
        yield from ("", "| failed video | id | stage | reason |", "| --- | --- | --- | --- |")
        for video in report.failed:
            yield f"| {cell(video.title)} | {video.video_id} | {video.stage} | {cell(video.reason)} |"
    if report.failed_channels:
        yield from ("", "| failed channel | reason |", "| --- | --- |")
        for channel, reason in report.failed_channels.items():
            yield f"| {cell(channel)} | {cell(reason)} |"


def _time_lines(times: Sequence[StageTime]) -> Iterator[str]:
    yield "| stage | videos | audio s | container s | start s | import s | load s | work s | total s | RTFx |"
    yield "| --- |" + " ---: |" * 9
    for time in times:
        rtfx = "" if time.rtfx is None else f"{time.rtfx:.1f}"
        yield (
            f"| {time.stage} | {time.n_videos} | {time.audio_s:.1f} | {time.container_s:.1f} | {time.start_s:.1f} "
            f"| {time.import_s:.1f} | {time.load_s:.1f} | {time.work_s:.1f} | {time.total_s:.1f} | {rtfx} |"
        )
    total_s, start_up_s = (sum(parts) for parts in zip(*((t.total_s, t.start_up_s) for t in times), strict=True))
    if total_s:
        share = 100 * start_up_s / total_s
        yield ""
        yield f"Starts cost {share:.1f} % of the stages' time: {start_up_s:.1f} s of {total_s:.1f} s."


def _comparison_lines(compared: Sequence[Comparison]) -> Iterator[str]:
    yield "| figure | this run | median before | of runs | change |"
    yield "| --- |" + " ---: |" * 4
    for one in compared:
        middle = "" if one.median is None else figure_text(one.median)
        change = "" if one.change is None else f"{100 * one.change:+.0f} %"
        yield f"| {one.figure} | {figure_text(one.value)} | {middle} | {one.n_runs} | {change} |"


def _video_lines(videos: Sequence[VideoTime]) -> Iterator[str]:
    slowest = sorted(videos, key=lambda video: sum(video.seconds.values()), reverse=True)
    yield f"Seconds by video, the slowest first{_of(len(slowest))}:"
    yield ""
    yield "| video | audio | " + " | ".join(part.replace("_", " ") for part in PARTS) + " |"
    yield "| --- |" + " ---: |" * (len(PARTS) + 1)
    for video in slowest[:MOST_VIDEOS]:
        audio = "" if video.audio_s is None else f"{video.audio_s:.1f}"
        parts = " | ".join(f"{video.seconds[part]:.1f}" if part in video.seconds else "" for part in PARTS)
        yield f"| {cell(video.title)} | {audio} | {parts} |"


def _of(number: int) -> str:
    return f" ({MOST_VIDEOS} of {number})" if number > MOST_VIDEOS else ""


def _gpu_lines(uses: Mapping[str, GpuUse]) -> Iterator[str]:
    if any(use.n_videos for use in uses.values()):
        yield "The GPU, from the lowest sample over the median to the highest:"
        yield ""
        yield "| stage | busy share | SM % | VRAM % | temperature, °C | power, W | energy, Wh |"
        yield "| --- |" + " ---: |" * 6
    for stage, use in uses.items():
        if use.n_videos:
            busy = "unknown" if use.busy_share is None else f"{use.busy_share:.2f}"
            energy = "unknown" if use.energy_wh is None else f"{use.energy_wh:.2f}"
            ranges = (use.sm_percent, use.vram_percent, use.temperature_c, use.power_w)
            yield f"| {stage} | {busy} | {' | '.join(map(range_text, ranges))} | {energy} |"
    yield ""
    for stage, use in uses.items():
        for reason in use.unavailable:
            yield f"- {stage}: GPU: unavailable ({cell(reason)})"


def range_text(found: Range | None) -> str:
    """Lowest, median and highest, for people."""
    return f"{found.min:.0f} / {found.median:.0f} / {found.max:.0f}" if found else "unknown"


def clock(seconds: float) -> str:
    """A length of time, for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
