"""Languages, as a recogniser names them, and how Postgres stems their words."""

# ISO 639-1 code -> the text search configuration that every Postgres has for it.
_CONFIGS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


def text_config(language: str | None) -> str:
    """The text search configuration of a language; ``simple``, which stems nothing, for one that has none."""
    code = (language or "").lower().replace("_", "-").split("-")[0]
    return _CONFIGS.get(code, "simple")
