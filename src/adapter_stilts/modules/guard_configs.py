"""Configurations that fit their weights, by kind: adapters and LoRAs, heads, fusions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.modules.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.safety import brief, is_number, read_json

Shapes = Mapping[str, tuple[int, ...]]
"""Of a file's tensors, by their names."""

PLACES = (
    "adapters|invertible_adapters|loras|attention_text_task_adapters|attention_text_lang_adapters|"
    "layer_text_task_adapters|layer_text_lang_adapters|invertible_lang_adapters"
)
HEADS = {
    "classification": "classification",
    "multiple_choice": "choice",
    "question_answering": "span",
    "tagging": "tagging",
}
"""The library's kinds of head, and what they are called here."""
_MAX_CHOICES, _MAX_LABELS, _MAX_LAYERS, _MAX_RANK = 1000, 10_000, 8, 4096
_LEAST_FACTOR = 0.25
"""Bottlenecks may be wider than the trunk, but not by much."""


def named_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The name and the configuration in a file of the library's.

    Raises:
        UserError: they are not there.
    """
    about = read_json(path)
    if not isinstance(about, dict):
        raise UserError(f"{path}: expected an object")
    name, config = about.get("name"), about.get("config")
    # A name in place of the configuration would be looked up by the library, on disk too.
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected an object 'config'")
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: expected a text 'name'")
    return name, config


def _demand(fine: bool, path: Path, what: str) -> None:
    if not fine:
        raise UserError(f"{path}: {what}")


def check_adapter(path: Path, shapes: Shapes) -> None:
    """Compares an adapter's or a LoRA's configuration at `path` with the shapes of its weights.

    Raises:
        UserError: they do not fit, or hold what no module has.
    """
    name, config = named_config(path)
    own = re.compile(rf"(.+\.)?({PLACES})\.{re.escape(name)}\..+")
    other = next((key for key in shapes if not own.fullmatch(key)), None)
    _demand(
        other is None,
        path.parent / WEIGHTS,
        f"'{brief(other)}' is no part of module '{brief(name)}'",
    )
    kind = config.get("architecture")
    _demand(kind in (None, "lora"), path, f"modules of kind '{brief(kind)}' are not supported")
    seed = config.get("init_weights_seed")
    _demand(seed is None or _is_count(seed, 1 << 31), path, "'init_weights_seed' is no seed")
    left_out = config.get("leave_out") or []
    _demand(
        isinstance(left_out, list) and all(_is_count(each, 1 << 20) for each in left_out),
        path,
        "'leave_out' is no list of layers",
    )
    if kind == "lora":
        _check_lora(path, config, shapes)
    else:
        _check_bottleneck(path, config, shapes)


def _check_lora(path: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    ranks = {shape[0] for key, shape in shapes.items() if key.endswith(".lora_A") and shape}
    rank = config.get("r")
    scales = config.get("composition_mode") == "scale"
    _demand(
        _is_count(rank, _MAX_RANK) and (rank == 1 if scales or not ranks else ranks == {rank}),
        path,
        f"rank {brief(rank)} is not that of the weights",
    )
    _demand(is_number(config.get("alpha", 1)), path, "'alpha' is no number")
    matrices = config.get("attn_matrices", [])
    _demand(
        isinstance(matrices, list) and all(each in ("q", "k", "v") for each in matrices),
        path,
        "'attn_matrices' are of q, k and v",
    )
    unusual = [key for key in ("vera_d", "vera_b") if config.get(key) is not None]
    _demand(not unusual, path, "VeRA is not supported")
    dtype = config.get("dtype")
    _demand(
        dtype in (None, "float32", "float16", "bfloat16"),
        path,
        f"'dtype' '{brief(dtype)}' is unknown",
    )


def _check_bottleneck(path: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    _demand(not config.get("phm_layer"), path, "Compacter modules are not supported")
    factors = config.get("reduction_factor")
    values = list(factors.values()) if isinstance(factors, dict) else [factors]
    down = [shape for key, shape in shapes.items() if key.endswith("adapter_down.0.weight")]
    _check_factors(path, "reduction_factor", values, down)
    if config.get("inv_adapter") is not None:
        inner = [shape for key, shape in shapes.items() if re.search(r"\.[FG]\.0\.weight$", key)]
        inverse = config.get("inv_adapter_reduction_factor")
        _check_factors(path, "inv_adapter_reduction_factor", [inverse], inner)


def _check_factors(
    path: Path, what: str, factors: list[Any], shapes: list[tuple[int, ...]]
) -> None:
    """No matrix may be larger than one that is in the weights."""
    fine = bool(factors) and all(is_number(each) and each >= _LEAST_FACTOR for each in factors)
    _demand(fine, path, f"'{what}' is no number above {_LEAST_FACTOR}")
    _demand(
        all(len(shape) == 2 for shape in shapes), path.parent / WEIGHTS, "a matrix was expected"
    )
    if shapes:
        rows = max(shape[0] for shape in shapes)
        width = max(shape[1] for shape in shapes)
        _demand(width // min(factors) <= max(rows, 1), path, f"'{what}' is not that of the weights")
    else:
        _demand(min(factors) >= 1, path, f"'{what}' is below 1, and there are no weights")


def check_head(path: Path, shapes: Shapes) -> None:
    """Compares a head's configuration at `path` with the shapes of its weights.

    Raises:
        UserError: they do not fit, or the head is of a kind that is not known here.
    """
    name, config = named_config(path)
    other = next((key for key in shapes if not key.startswith(f"heads.{name}.")), None)
    _demand(
        other is None,
        path.parent / HEAD_WEIGHTS,
        f"'{brief(other)}' is no part of the head of '{brief(name)}'",
    )
    kind = config.get("head_type")
    _demand(
        isinstance(kind, str) and kind in HEADS,
        path,
        f"heads of kind '{brief(kind)}' are not supported",
    )
    rows = max((shape[0] for shape in shapes.values() if shape), default=0)
    for key, most in (
        ("num_labels", min(rows, _MAX_LABELS)),
        ("num_choices", _MAX_CHOICES),
        ("layers", _MAX_LAYERS),
    ):
        value = config.get(key, 1)
        _demand(_is_count(value, most) and value > 0, path, f"'{key}' is not that of the weights")
    ids = config.get("label2id")
    _demand(
        ids is None
        or (isinstance(ids, dict) and all(_is_count(each, 1 << 20) for each in ids.values())),
        path,
        "'label2id' does not number labels",
    )


def check_fusion(path: Path, shapes: Shapes) -> None:
    """Compares a fusion's description at `path` with the shapes of its weights.

    Raises:
        UserError: they do not fit.
    """
    about = read_json(path)
    _demand(isinstance(about, dict), path, "expected an object")
    kind, rank = about.get("kind"), about.get("rank")
    _demand(kind in ("full", "lean", "uniform"), path, f"no fusion is of kind '{brief(kind)}'")
    sizes = {size for shape in shapes.values() for size in shape}
    _demand(
        rank == 0 or (_is_count(rank, _MAX_RANK) and rank in sizes),
        path,
        f"rank {brief(rank)} is not that of the weights",
    )
    _demand(isinstance(about.get("shared"), bool), path, "'shared' is neither true nor false")
    sources = about.get("sources")
    _demand(
        isinstance(sources, list) and all(isinstance(each, str) for each in sources),
        path,
        "'sources' is no list of names",
    )


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
