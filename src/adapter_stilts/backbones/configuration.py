"""A backbone's `config.json`, read as plain JSON: a closed list of architectures and of fields.

`AutoConfig.from_pretrained` is not used, even with `trust_remote_code=False`: in transformers
4.57 the configuration of one architecture takes `trust_remote_code` out of the file and loads a
second one with it (CVE-2026-5241), and `_attn_implementation_internal` names a repository of
kernels that is imported (CVE-2026-4372). A stranger's module may name any backbone, so what is not
listed here is not built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from adapter_stilts.errors import UserError
from adapter_stilts.safety import brief, is_count, is_number, read_json

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ARCHITECTURES = ("bert", "roberta", "xlm-roberta")
"""Every part of the engine works with these; other models may run, but not in all of it."""

ATTENTION = "sdpa"
"""Asked for by us, whatever a file says."""

_ACTIVATIONS = (
    "gelu",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "quick_gelu",
    "relu",
    "silu",
    "swish",
    "tanh",
)
_LEAST_LENGTH = 8
"""Tokens that a text must be able to have."""

SIZES: Mapping[str, int] = MappingProxyType(
    {
        "vocab_size": 1 << 23,
        "hidden_size": 1 << 15,
        "num_hidden_layers": 256,
        "num_attention_heads": 1 << 10,
        "intermediate_size": 1 << 18,
        "max_position_embeddings": 1 << 20,
        "type_vocab_size": 1 << 10,
    }
)
"""What decides the shapes of the weights, from 1 to this; each must be in the file."""

_NUMBERS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "hidden_dropout_prob": (0.0, 1.0),
        "attention_probs_dropout_prob": (0.0, 1.0),
        "initializer_range": (0.0, 10.0),
        "layer_norm_eps": (1e-20, 0.1),
    }
)
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
_CHANGING = ("is_decoder", "is_encoder_decoder", "add_cross_attention", "pruned_heads")
"""What makes another model of the same weights; it may be there, and false."""


def refuse_code(path: Path, value: object) -> None:
    """Refuses a configuration that names code to be run, at any depth.

    Raises:
        UserError: names the field.
    """
    for key, inner in _fields(value):
        if not isinstance(key, str):
            continue
        # Written as true by transformers 4.46 to 4.51; it says nothing more than that.
        marked = key == "_attn_implementation_autoset" and (
            inner is None or isinstance(inner, bool)
        )
        if not marked and ("attn_implementation" in key or key in ("auto_map", *_TRUST)):
            raise UserError(
                f"{path}: '{brief(key)}' would run code of a stranger's, and is not accepted: use "
                "a backbone without it"
            )


_TRUST = ("trust_remote_code", "custom_generate", "custom_pipelines")


def _fields(value: object) -> Iterator[tuple[object, object]]:
    """All keys with their values, of nested objects too."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield from each.items()
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a backbone's configuration, each of them checked; others are left out.

    Raises:
        UserError: no JSON, code, another architecture, or a value that makes no sense.
    """
    given = read_json(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: expected an object")
    refuse_code(path, given)
    kind = given.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise UserError(
            f"{path}: it is not the configuration of a known encoder: 'model_type' is "
            f"{_shown(kind)}, and must be one of {', '.join(ARCHITECTURES)}"
        )
    _check_kept_out(path, given)
    found: dict[str, Any] = {"model_type": kind, **_sizes(path, given)}
    found |= _numbers(path, given) | _ids(path, given) | _words(path, given)
    _check_together(path, found)
    return found


def build_config(fields: Mapping[str, Any]) -> PretrainedConfig:
    """The library's configuration object for checked fields."""
    import transformers

    classes: Mapping[str, Callable[..., PretrainedConfig]] = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
    }
    given = {key: value for key, value in fields.items() if key != "model_type"}
    return classes[fields["model_type"]](**given, attn_implementation=ATTENTION)


def longest_text(fields: Mapping[str, Any]) -> int:
    """The longest sequence, in tokens, that the position embeddings hold."""
    positions = int(fields["max_position_embeddings"])
    # RoBERTa numbers positions from padding_idx + 1.
    return positions if fields["model_type"] == "bert" else positions - fields["pad_token_id"] - 1


def _shown(value: object) -> str:
    return brief(json.dumps(value, allow_nan=False))


def _demand(fine: bool, path: Path, key: str, value: object, what: str) -> None:
    if not fine:
        raise UserError(f"{path}: '{key}' is {_shown(value)}, and must be {what}")


def _check_kept_out(path: Path, given: Mapping[str, Any]) -> None:
    """Refuses what would be another model than the one that is built."""
    for key in _CHANGING:
        if given.get(key):
            raise UserError(f"{path}: '{key}' is set, and the model is no plain encoder then")
    if given.get("quantization_config") is not None:
        raise UserError(
            f"{path}: 'quantization_config': quantised weights are not read, use the model itself"
        )


def _sizes(path: Path, given: Mapping[str, Any]) -> dict[str, int]:
    for key, most in SIZES.items():
        if key not in given:
            raise UserError(f"{path}: '{key}' is missing")
        _demand(is_count(given[key], most, least=1), path, key, given[key], f"from 1 to {most}")
    return {key: given[key] for key in SIZES}


def _numbers(path: Path, given: Mapping[str, Any]) -> dict[str, float]:
    there = {key: given[key] for key in _NUMBERS if given.get(key) is not None}
    for key, value in there.items():
        least, most = _NUMBERS[key]
        fine = is_number(value) and least <= value <= most
        _demand(fine, path, key, value, f"from {least:g} to {most:g}")
    return there


def _ids(path: Path, given: Mapping[str, Any]) -> dict[str, int]:
    defaults = (0, None, None) if given["model_type"] == "bert" else (1, 0, 2)
    found = dict(zip(_IDS, defaults, strict=True))
    found |= {key: given[key] for key in _IDS if given.get(key) is not None}
    there = {key: value for key, value in found.items() if value is not None}
    for key, value in there.items():
        last = given["vocab_size"] - 1
        _demand(is_count(value, last), path, key, value, f"from 0 to {last}")
    return there


def _words(path: Path, given: Mapping[str, Any]) -> dict[str, str]:
    activation = given.get("hidden_act", "gelu")
    fine = isinstance(activation, str) and activation in _ACTIVATIONS
    _demand(fine, path, "hidden_act", activation, f"one of {', '.join(_ACTIVATIONS)}")
    positions = given.get("position_embedding_type", "absolute")
    _demand(positions == "absolute", path, "position_embedding_type", positions, "absolute")
    return {"hidden_act": activation, "position_embedding_type": "absolute"}


def _check_together(path: Path, found: Mapping[str, Any]) -> None:
    hidden, heads = found["hidden_size"], found["num_attention_heads"]
    if hidden % heads:
        raise UserError(
            f"{path}: 'hidden_size' {hidden} is no multiple of 'num_attention_heads' {heads}"
        )
    if longest_text(found) < _LEAST_LENGTH:
        raise UserError(
            f"{path}: 'max_position_embeddings' {found['max_position_embeddings']} leaves no room "
            "for a text"
        )
