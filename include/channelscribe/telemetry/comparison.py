"""How fast a run was beside those before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

N_EARLIER = 10
# The median of fewer runs says little.
MIN_EARLIER = 3
# A change that is worth a sentence.
NOTABLE = 0.2

WHOLE, PER_HOUR, GPU_BUSY, TEXTS = "RTFx", "hours of audio per hour", "GPU busy share", "texts/s"

# Figures of a run by name; of all of them, more is better.
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """One figure of a run, and the median of the runs before it.

    Args:
        figure: its name.
        value: of the run.
        median: of the earlier runs; None where they were too few.
        n_runs: earlier runs that have the figure.
    """

    figure: str
    value: float
    median: float | None
    n_runs: int

    @property
    def change(self) -> float | None:
        """How far above the median it is, as a share of it; None without a median to compare to."""
        return self.value / self.median - 1 if self.median else None

    @property
    def notable(self) -> bool:
        """It is worth a sentence."""
        return self.change is not None and abs(self.change) >= NOTABLE

    @property
    def sentence(self) -> str:
        """The same for people."""
        if self.change is None or self.median is None:
            return f"{self.figure} {figure_text(self.value)}, too few runs before to compare it to"
        change = round(100 * abs(self.change))
        side = "above" if self.change > 0 else "below"
        place = f"{change} % {side} the median" if change else "as the median"
        return (
            f"{self.figure} {figure_text(self.value)}, {place} of the last {self.n_runs} ({figure_text(self.median)})"
        )


def compare(figures: Figures, earlier: Sequence[Figures]) -> tuple[Comparison, ...]:
    """Compare each figure of a run with the median of the runs before it.

    Args:
        figures: of the run.
        earlier: of runs with the same profile, the newest first.
    """
    result = []
    for name, value in figures.items():
        before = [one[name] for one in earlier if name in one and _comparable(name, figures, one)][:N_EARLIER]
        middle = median(before) if len(before) >= MIN_EARLIER else None
        result.append(Comparison(name, value, middle, len(before)))
    return tuple(result)


def _comparable(name: str, ours: Figures, theirs: Figures) -> bool:
    """What is of a whole run is compared only with runs in which the same stages worked."""
    return name not in (WHOLE, PER_HOUR, GPU_BUSY) or _stages(ours) == _stages(theirs)


def _stages(figures: Figures) -> set[str]:
    return {name for name in figures if name.endswith(f" {WHOLE}")}


def figure_text(value: float) -> str:
    """A figure for people: three digits that count, and no more."""
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
