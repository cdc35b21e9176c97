"""Whisper with random weights, in the two formats that the adapters load: OpenAI's, and CTranslate2's.

Both hold the same weights and the vocabulary of large-v3, so that the adapters can be held against each other, small or
in full size. What it writes is a babble.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MEL_BINS, _VOCABULARY, _LANGUAGES = 128, 51_866, 100


@dataclass(frozen=True)
class Size:
    """Layers of encoder and decoder, the width of both, and the heads of both."""

    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int


TINY = Size(encoder_layers=2, decoder_layers=2, width=64, heads=2)
LARGE_V3_TURBO = Size(encoder_layers=32, decoder_layers=4, width=1280, heads=20)


def write_openai_checkpoint(path: Path, size: Size = TINY, seed: int = 0) -> None:
    """Write a checkpoint as OpenAI publishes them."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(seed)
    dims = ModelDimensions(
        n_mels=_MEL_BINS, n_audio_ctx=1500, n_audio_state=size.width, n_audio_head=size.heads,
        n_audio_layer=size.encoder_layers, n_vocab=_VOCABULARY, n_text_ctx=448, n_text_state=size.width,
        n_text_head=size.heads, n_text_layer=size.decoder_layers,
    )  # fmt: skip
    model = Whisper(dims)
    with torch.no_grad():
        for parameter in model.parameters():
            # `positional_embedding` starts as whatever was in memory; with matrices that are smaller every audio
            # is the same to it.
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)


def write_ctranslate2_folder(checkpoint: Path, folder: Path, scratch: Path, quantization: str = "float32") -> None:
    """Convert a checkpoint as those on the hub were: by way of Transformers' format, which is left in ``scratch``."""
    from ctranslate2.converters import TransformersConverter

    _write_transformers_folder(checkpoint, scratch)
    converter = TransformersConverter(str(scratch), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(folder), quantization=quantization)


def _write_transformers_folder(checkpoint: Path, folder: Path) -> None:
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )
    from whisper.tokenizer import get_tokenizer

    written = torch.load(checkpoint, weights_only=True)
    dims = written["dims"]
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=_VOCABULARY, num_mel_bins=_MEL_BINS, d_model=dims["n_audio_state"],
            encoder_layers=dims["n_audio_layer"], encoder_attention_heads=dims["n_audio_head"],
            encoder_ffn_dim=4 * dims["n_audio_state"],
            decoder_layers=dims["n_text_layer"], decoder_attention_heads=dims["n_text_head"],
            decoder_ffn_dim=4 * dims["n_text_state"],
        )
    )  # fmt: skip
    renamed = {_transformers_name(name): weight for name, weight in written["model_state_dict"].items()}
    model.load_state_dict(renamed | {"proj_out.weight": renamed["model.decoder.embed_tokens.weight"]})
    tokenizer = get_tokenizer(multilingual=True, num_languages=_LANGUAGES)
    model.generation_config = GenerationConfig(
        suppress_tokens=list(tokenizer.non_speech_tokens),
        begin_suppress_tokens=[*tokenizer.encode(" "), tokenizer.eot],
        lang_to_id={f"<|{code}|>": tokenizer.to_language_token(code) for code in tokenizer.all_language_codes},
    )
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=fast_tokenizer()).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=_MEL_BINS).save_pretrained(folder)


def _transformers_name(name: str) -> str:
    """Name of a weight in Transformers' format; the longer of two patterns that fit comes first."""
    for old, new in (
        (".blocks.", ".layers."),
        (".cross_attn_ln.", ".encoder_attn_layer_norm."), (".attn_ln.", ".self_attn_layer_norm."),
        (".mlp_ln.", ".final_layer_norm."), (".mlp.0.", ".fc1."), (".mlp.2.", ".fc2."),
        (".cross_attn.", ".encoder_attn."), (".attn.", ".self_attn."),
        (".query.", ".q_proj."), (".key.", ".k_proj."), (".value.", ".v_proj."), (".out.", ".out_proj."),
        ("encoder.ln_post.", "encoder.layer_norm."), ("decoder.ln.", "decoder.layer_norm."),
        ("token_embedding.", "embed_tokens."), ("positional_embedding", "embed_positions.weight"),
    ):  # fmt: skip
        name = name.replace(old, new)
    return f"model.{name}"


def fast_tokenizer() -> Any:
    """OpenAI's vocabulary, which is in its wheel, as ``tokenizer.json`` wants it."""
    import whisper
    from transformers.convert_slow_tokenizer import TikTokenConverter
    from whisper.tokenizer import get_tokenizer

    encoding = get_tokenizer(multilingual=True, num_languages=_LANGUAGES).encoding
    by_id = sorted(encoding.special_tokens_set, key=encoding.encode_single_token)
    vocabulary = Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken"
    return TikTokenConverter(str(vocabulary), extra_special_tokens=by_id).converted()
