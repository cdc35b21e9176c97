"""Speech recognition by Moonshine tiny-en, whose weights are in the wheel. English only, on the CPU only."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from moonshine_voice.moonshine_api import ModelArch
from moonshine_voice.transcriber import Transcriber
from moonshine_voice.utils import get_assets_path
from numpy.typing import NDArray

from channelscribe.audio import SAMPLE_RATE_HZ
from channelscribe.contracts import Span
from channelscribe.errors import MisconfiguredError
from channelscribe.models import Heard, Line, Recognition
from channelscribe.profiles import StageSpec

_OPTIONS = {
    "return_audio_data": "false",
    # Its own voice activity detector carries state from call to call, and drops words: the regions are speech already.
    "vad_threshold": "0.0",
    # The default of 6.5 cuts quick speech short.
    "max_tokens_per_second": "13",
}


class Moonshine:
    """The recogniser. It has no times of words, only of lines.

    It keeps state between calls, so each recording gets an instance of its own, which costs 0.2 s.
    """

    device = "cpu"
    word_timing: Literal["interpolated"] = "interpolated"
    temperatures = ()  # it would say the same again

    def __init__(self) -> None:
        self._model = get_assets_path() / "tiny-en"
        if not self._model.is_dir():
            raise MisconfiguredError("Moonshine's weights are missing: install moonshine-voice 0.0.73 by `make setup`.")

    def transcribe(
        self,
        waveform: NDArray[np.float32],
        regions: Sequence[Span],
        language: str | None = None,
        temperature: float = 0.0,
    ) -> Recognition:
        """Recognise the speech of some regions of a recording.

        Args:
            waveform: (n_samples,) float32 in [-1, 1], 16 kHz.
            regions: at most 30 s each: Moonshine was trained on no more.
            language: none but English, which it would write whatever is spoken.
            temperature: it has none.

        Returns:
            The lines of each region, in order, with times in the recording; none where it heard no words.

        Raises:
            MisconfiguredError: another language is asked for.
        """
        if language not in (None, "en"):
            raise MisconfiguredError(
                f"Moonshine tiny-en knows English only, and the channel's option `language` says {language}: take a "
                "profile with Whisper, such as gpu, or change the option."
            )
        if not regions:
            return Recognition("en", None, ())
        with Transcriber(self._model, ModelArch.TINY, options=_OPTIONS) as transcriber:
            heard = tuple(Heard(tuple(self._lines(transcriber, waveform, region))) for region in regions)
        return Recognition("en", None, heard)

    def _lines(self, transcriber: Transcriber, waveform: NDArray[np.float32], region: Span) -> list[Line]:
        first, last = int(region.start_s * SAMPLE_RATE_HZ), int(region.end_s * SAMPLE_RATE_HZ)
        samples = waveform[first:last]
        if not len(samples):
            return []
        end_of_all_s = min(region.end_s, len(waveform) / SAMPLE_RATE_HZ)
        lines = []
        for line in transcriber.transcribe_without_streaming(samples.tolist(), SAMPLE_RATE_HZ).lines:
            start_s = min(region.start_s + line.start_time, end_of_all_s)
            end_s = min(start_s + line.duration, end_of_all_s)
            if line.text.strip():
                lines.append(Line(start_s, end_s, line.text.strip()))
        return lines


def load(spec: StageSpec, device: str) -> Moonshine:
    """Find the weights; the runner refuses a device other than the CPU."""
    return Moonshine()
