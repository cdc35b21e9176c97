import numpy as np
import pytest
from numpy.typing import NDArray

from channelscribe.contracts import Span
from channelscribe.errors import MisconfiguredError
from channelscribe.profiles import BUNDLED

pytestmark = pytest.mark.stages


@pytest.fixture(scope="module")
def recogniser():
    from channelscribe.models.moonshine import load

    return load(BUNDLED.stages["transcribe"], "cpu")


def test_lines_lie_within_their_regions_and_hold_the_words(recogniser, reading: NDArray[np.float32]) -> None:
    regions = [Span(start_s=1.1, end_s=8.5), Span(start_s=20.9, end_s=24.3)]
    recognition = recogniser.transcribe(reading, regions)
    assert recognition.language == "en"
    heard = [of_region.lines for of_region in recognition.regions]
    for region, lines in zip(regions, heard, strict=True):
        assert lines
        for line in lines:
            assert region.start_s <= line.start_s <= line.end_s <= region.end_s
    assert "best of times" in " ".join(line.text for line in heard[0]).lower()
    assert "before us" in " ".join(line.text for line in heard[1]).lower()


def test_a_region_does_not_depend_on_those_before_it(recogniser, dialogue: NDArray[np.float32]) -> None:
    regions = [Span(start_s=10.5, end_s=14.4), Span(start_s=14.4, end_s=17.9), Span(start_s=21.7, end_s=28.4)]
    together = recogniser.transcribe(dialogue, regions).regions
    assert list(together) == [recogniser.transcribe(dialogue, [region]).regions[0] for region in regions]
    assert all(heard.lines for heard in together)


def test_another_language_is_refused_and_english_is_not(recogniser, reading: NDArray[np.float32]) -> None:
    regions = [Span(start_s=1.1, end_s=8.5)]
    with pytest.raises(MisconfiguredError, match="knows English only, and the channel's option `language` says de"):
        recogniser.transcribe(reading, regions, "de")
    assert recogniser.transcribe(reading, regions, "en") == recogniser.transcribe(reading, regions)


def test_no_regions(recogniser, dialogue: NDArray[np.float32]) -> None:
    assert recogniser.transcribe(dialogue, []).regions == ()
