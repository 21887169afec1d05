"""A backbone's `config.json`, read as plain JSON: a closed list of architectures and of fields.

`AutoConfig.from_pretrained` is not used, even with `trust_remote_code=False`: in transformers
4.57 the configuration of one architecture takes `trust_remote_code` out of the file and loads a
second one with it (CVE-2026-5241), and `_attn_implementation_internal` names a repository of
kernels that is imported (CVE-2026-4372). A stranger's module may name any backbone, so what is not
listed here is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from adapter_stilts.errors import UserError
from adapter_stilts.safety import Count, Fraction, Shape, brief, check_shape, demand, read_json

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Architecture = Literal["bert", "roberta", "xlm-roberta"]
"""Every part of the engine works with these; other models may run, but not in all of it."""

ATTENTION = "sdpa"
"""Asked for by us, whatever a file says."""
_LEAST_LENGTH = 8
"""Tokens that a text must be able to have."""
_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
"""RoBERTa's, where a file does not say them."""
_SET = demand(lambda value: not value, "it is set, and the model is no plain encoder then")
_Unset = Annotated[Any, _SET, Field(exclude=True)]
"""What makes another model of the same weights; it may be there, and false."""


class Fields(Shape):
    """What is read of a configuration; the sizes, which must be there, shape the weights."""

    model_type: Architecture
    vocab_size: Annotated[int, Field(ge=1, le=1 << 23)]
    hidden_size: Annotated[int, Field(ge=1, le=1 << 15)]
    num_hidden_layers: Annotated[int, Field(ge=1, le=256)]
    num_attention_heads: Annotated[int, Field(ge=1, le=1 << 10)]
    intermediate_size: Annotated[int, Field(ge=1, le=1 << 18)]
    max_position_embeddings: Annotated[int, Field(ge=1, le=1 << 20)]
    type_vocab_size: Annotated[int, Field(ge=1, le=1 << 10)]
    hidden_dropout_prob: Fraction | None = None
    attention_probs_dropout_prob: Fraction | None = None
    initializer_range: Annotated[float, Field(ge=0, le=10)] | None = None
    layer_norm_eps: Annotated[float, Field(ge=1e-20, le=0.1)] | None = None
    pad_token_id: Count | None = None
    bos_token_id: Count | None = None
    eos_token_id: Count | None = None
    hidden_act: Literal[
        "gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "quick_gelu", "relu",
        "silu", "swish", "tanh",
    ] = "gelu"  # fmt: skip
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: _Unset = None
    is_encoder_decoder: _Unset = None
    add_cross_attention: _Unset = None
    pruned_heads: _Unset = None


_TRUST = ("trust_remote_code", "custom_generate", "custom_pipelines")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a stranger's file; refuses one that names code to be run, at any depth."""
    given = read_json(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: expected an object")
    for key, inner in _fields(given):
        # Written as true by transformers 4.46 to 4.51; it says nothing more than that.
        marked = key == "_attn_implementation_autoset" and (
            inner is None or isinstance(inner, bool)
        )
        if not marked and ("attn_implementation" in key or key in ("auto_map", *_TRUST)):
            raise UserError(
                f"{path}: '{brief(key)}' would run code of a stranger's, and is not accepted: use "
                "a backbone without it"
            )
    return given


def _fields(value: object) -> Iterator[tuple[str, Any]]:
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

    Refuses code, another architecture, and a value that makes no sense.
    """
    given = read_object(path)
    kind, known = given.get("model_type"), get_args(Architecture)
    if not isinstance(kind, str) or kind not in known:
        raise UserError(
            f"{path}: it is not the configuration of a known encoder: 'model_type' is "
            f"{brief(kind)}, and must be one of {', '.join(known)}"
        )
    if given.get("quantization_config") is not None:
        raise UserError(
            f"{path}: 'quantization_config': quantised weights are not read, use the model itself"
        )
    checked = check_shape(Fields, given, path).model_dump(exclude_none=True)
    found = {**({"pad_token_id": 0} if kind == "bert" else _IDS), **checked}
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


def _check_together(path: Path, found: Mapping[str, Any]) -> None:
    hidden, heads, words = (
        found[key] for key in ("hidden_size", "num_attention_heads", "vocab_size")
    )
    for key in _IDS:
        if found.get(key, 0) >= words:
            raise UserError(f"{path}: '{key}' is {found[key]}, and must be below {words}")
    if hidden % heads:
        raise UserError(
            f"{path}: 'hidden_size' {hidden} is no multiple of 'num_attention_heads' {heads}"
        )
    if longest_text(found) < _LEAST_LENGTH:
        raise UserError(
            f"{path}: 'max_position_embeddings' {found['max_position_embeddings']} leaves no room "
            "for a text"
        )
