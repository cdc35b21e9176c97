"""Text embedding models with random weights: folders in the format in which the real ones are published.

Their speed is that of the real ones where the architecture is; their vectors mean nothing. Used by text_embedding.py
and, in small, by the tests.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

END, TURN_END = "<|endoftext|>", "<|im_end|>"
WORDS = "it was the best of times and it was the worst of times we had everything before us we had nothing before us"
# How both models' tokenizers cut a text before they look for tokens: no piece but a blank reaches over a space.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@dataclass(frozen=True)
class Architecture:
    """How a model is published.

    Args:
        model: its name.
        config: of its config.json.
        query_prompt: what goes before a query.
        template: the tokenizer itself ends every text by END; else that is left to code that comes with the model.
    """

    model: str
    config: dict[str, Any]
    query_prompt: str
    template: bool


ARCHITECTURES = {
    "qwen3-0.6b": Architecture(
        model="Qwen/Qwen3-Embedding-0.6B",
        config={
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151669, "hidden_size": 1024,
            "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
            "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "tie_word_embeddings": True, "use_sliding_window": False, "use_cache": True,
            "attention_bias": False,
        },
        query_prompt=_INSTRUCTION,
        template=True,
    ),
    "gte-1.5b": Architecture(
        model="Alibaba-NLP/gte-Qwen2-1.5B-instruct",
        config={
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151646, "hidden_size": 1536,
            "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
            "hidden_act": "silu", "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "tie_word_embeddings": False, "use_sliding_window": False, "use_cache": True,
            "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"},
        },
        query_prompt=f"{_INSTRUCTION} ",
        template=False,
    ),
}  # fmt: skip


def write(
    folder: Path, architecture: Architecture, *, seed: int = 0, tokenizer: Tokenizer | None = None, **smaller: Any
) -> None:
    """Write a model's folder.

    Args:
        folder: made anew.
        architecture: one of ARCHITECTURES.
        seed: of the weights.
        tokenizer: with END among its tokens; None for one of a few words.
        smaller: what its config.json has instead.
    """
    folder.mkdir(parents=True)
    config = {**architecture.config, **smaller}
    _write_weights(folder, config, seed)
    _write_tokenizer(folder, architecture, tokenizer or _small_tokenizer())
    _write_json(folder / "config.json", config)
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    _write_json(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (name, path) in enumerate(modules)
        ],
    )
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_lasttoken": True}
    others = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
    _write_json(folder / "1_Pooling" / "config.json", {**pooling, **{f"pooling_mode_{name}": False for name in others}})
    prompts = {"query": architecture.query_prompt}
    _write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})


def _write_weights(folder: Path, config: dict[str, Any], seed: int) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        # Published with the head of a language model, which no embedding needs, and without one.
        if config["model_type"] == "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**config))
        else:
            model = Qwen3Model(Qwen3Config(**config))
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # biases and norms, which start as zeros and ones
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "embed" not in name:
                # As large as in a trained model: what comes in goes out in the same order of magnitude.
                parameter.normal_(std=parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)


def _small_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [END, "<|im_start|>", TURN_END]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    return tokenizer


def _write_tokenizer(folder: Path, architecture: Architecture, tokenizer: Tokenizer) -> None:
    if architecture.template:
        mark = (END, tokenizer.token_to_id(END))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[mark])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": END, "model_max_length": 32768}
    if architecture.template:
        settings["eos_token"] = TURN_END
    else:
        settings |= {"eos_token": END, "add_eos_token": True}
        settings["auto_map"] = {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", None]}
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
