"""Drawings of figures: paths for SVGs that stretch with the page, with the words around them as text of the page.

All are drawn `WIDTH` wide and `HEIGHT` high, whatever size they are shown in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000.0, 100.0
# Of the place of a bar, what stays empty beside it.
_GAP = 0.2


@dataclass(frozen=True)
class Mark:
    """Something drawn, that says what it is when pointed at.

    Args:
        text: what it says.
        paths: pairs of a colour's number and a path.
    """

    text: str
    paths: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Args:
        title: what it shows, with its unit.
        summary: what is to be seen in it, for who does not see it.
        top: the figure at its upper edge; 0 is at the lower one.
        first, last: what stands below its left and right edge.
        bars: filled.
        lines: drawn as lines.
        legend: what each colour's number means, where there are several.
    """

    title: str
    summary: str
    top: str
    first: str
    last: str
    bars: tuple[Mark, ...] = ()
    lines: tuple[Mark, ...] = ()
    legend: Mapping[int, str] | None = None


def nice_top(most: float) -> float:
    """The next figure that people count by: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most * (1 - 1e-9))


def bars(values: Sequence[Sequence[tuple[int, float]]], texts: Sequence[str], top: float) -> tuple[Mark, ...]:
    """A bar for each, stacked of pieces.

    Args:
        values: of each bar, its pieces from below: a colour's number and a figure.
        texts: what each bar says.
        top: the figure at the upper edge.
    """
    place = WIDTH / max(len(values), 1)
    marks = []
    for index, (pieces, text) in enumerate(zip(values, texts, strict=True)):
        left, width, below, paths = (index + _GAP / 2) * place, (1 - _GAP) * place, 0.0, []
        for colour, value in pieces:
            height = HEIGHT * value / top
            if height > 0:
                paths.append((colour, f"M{left:.1f} {HEIGHT - below:.1f}h{width:.1f}v{-height:.1f}h{-width:.1f}z"))
            below += height
        marks.append(Mark(text, tuple(paths)))
    return tuple(marks)


def line(points: Iterable[tuple[float, float | None, bool]], colour: int, text: str) -> Mark:
    """A line through points.

    Args:
        points: share of the width, share of the height, and whether the line goes on from the point before. Where the
            height is None there is a gap.
        colour: its number.
        text: what it says.
    """
    path, pen_is_down = [], False
    for x, y, goes_on in points:
        if y is None:
            pen_is_down = False
            continue
        path.append(f"{'L' if pen_is_down and goes_on else 'M'}{x * WIDTH:.1f} {HEIGHT - y * HEIGHT:.1f}")
        if not (pen_is_down and goes_on):
            path.append("h0.1")  # a point that stands alone is seen, too
        pen_is_down = True
    return Mark(text, ((colour, "".join(path)),))
