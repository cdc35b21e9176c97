"""The style sheet's colours can be read, in both modes: WCAG's contrast of text, 4.5."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "plugins/channelscribe_airflow/pages/static/pages.css").read_text()
PAIR = r"light-dark\((#\w{6}), (#\w{6})\)"


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(name: str) -> list[tuple[str, str]]:
    found = re.findall(rf"--{name}: {PAIR}", CSS)
    assert found
    return found


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "ground"),
    [
        *((name, ground) for name in ("text", "dim", "link", "voice") for ground in ("ground", "raised")),
        *(("text", ground) for ground in ("good", "warn", "mark")),
    ],
)
def test_text_can_be_read(name: str, ground: str, mode: int) -> None:
    for colour in colours(name):
        assert contrast(colour[mode], colours(ground)[0][mode]) >= 4.5, colour


def test_there_is_a_colour_for_every_voice() -> None:
    assert len(colours("voice")) == 8
