import pytest

from channelscribe.languages import LANGUAGES
from channelscribe.models.whisper import _WHISPER_NAMES

pytestmark = pytest.mark.stages


def test_a_channel_can_be_in_every_language_that_whisper_knows_and_no_other() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from whisper.tokenizer import LANGUAGES as OF_OPENAI

    names = {_WHISPER_NAMES.get(code, code) for code in LANGUAGES}
    assert names == set(OF_OPENAI) == set(_LANGUAGE_CODES)
