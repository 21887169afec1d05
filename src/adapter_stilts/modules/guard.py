"""Looks into a module's files before any library does.

A configuration may ask for matrices of any size, and a weights file may hold values for any
parameter of the model, the frozen trunk's among them: both are compared with each other here, by
the headers of the files, and nothing is allocated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from adapter_stilts.errors import UserError
from adapter_stilts.modules.fusing import fusion_files
from adapter_stilts.modules.methods import is_fusion
from adapter_stilts.modules.native import (
    CONFIG,
    FILES,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    WEIGHTS,
    check_files,
)
from adapter_stilts.safety import brief, is_number, read_json

Shapes = Mapping[str, tuple[int, ...]]

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


def check_module(folder: Path, method: str) -> None:
    """Refuses a module whose files are damaged, or not what they should be.

    Whether one is missing is for its record to say.

    Raises:
        UserError: says which file is at fault.
    """
    check_files(folder, fusion_files(folder, head=False) if is_fusion(method) else FILES[:1])
    check_contents(folder, method)


def check_contents(folder: Path, method: str) -> None:
    """Compares configurations with weights, of heads too where there are any.

    Raises:
        UserError: says which file is at fault.
    """
    if is_fusion(method):
        ((weights, config),) = fusion_files(folder, head=False)
        _check_fusion(folder / config, shapes_in(folder / weights))
    else:
        _check_adapter(folder / CONFIG, shapes_in(folder / WEIGHTS))
    for place in (folder, *sorted(folder.glob("heads/*"))):
        if (place / HEAD_WEIGHTS).is_file():
            check_files(place, FILES[1:])
            _check_head(place / HEAD_CONFIG, shapes_in(place / HEAD_WEIGHTS))


def check_widths(folder: Path, hidden: int, intermediate: int) -> None:
    """Refuses weights of another width than a trunk's, for which the library would make room.

    Raises:
        UserError: they are for a trunk of another size.
    """
    widths = {
        r".*\.adapter_down\.0\.weight": {hidden},
        r".*\.lora_A": {hidden, intermediate},
        r".*\.[FG]\.0\.weight": {hidden // 2},
    }
    for key, shape in shapes_in(folder / WEIGHTS).items():
        for pattern, allowed in widths.items():
            if re.fullmatch(pattern, key) and (not shape or shape[-1] not in allowed):
                raise UserError(
                    f"{folder / WEIGHTS}: '{brief(key)}' is for a backbone of another width than "
                    f"{hidden}"
                )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a file, without reading any."""
    with safe_open(path, framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


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


def _check_adapter(path: Path, shapes: Shapes) -> None:
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


def _check_head(path: Path, shapes: Shapes) -> None:
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


def _check_fusion(path: Path, shapes: Shapes) -> None:
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
