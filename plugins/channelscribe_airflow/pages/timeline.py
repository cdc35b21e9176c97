"""Who speaks when, as a drawing."""

from collections.abc import Iterable

WIDTH = 1000.0
# A turn of a second in a recording of hours must be seen, and thousands of them must not make the page heavy.
_THINNEST = 1.0
_NEAREST = 0.5


def lane(spans: Iterable[tuple[float, float]], audio_s: float) -> str:
    """The path of an SVG that is `WIDTH` wide and 10 high: a box where somebody speaks.

    Args:
        spans: start and end in seconds; they may overlap.
        audio_s: length of the recording.
    """
    if audio_s <= 0:
        return ""
    boxes: list[list[float]] = []
    for start_s, end_s in sorted(spans):
        first, last = (min(max(at / audio_s, 0), 1) * WIDTH for at in (start_s, end_s))
        last = max(last, first + _THINNEST)
        if boxes and first <= boxes[-1][1] + _NEAREST:
            boxes[-1][1] = max(boxes[-1][1], last)
        else:
            boxes.append([first, last])
    return "".join(f"M{first:.1f} 1h{last - first:.1f}v8H{first:.1f}z" for first, last in boxes)
