"""Looks into a module's files before any library does.

A configuration may ask for matrices of any size, and a weights file may hold values for any
parameter of the model, the frozen trunk's among them: both are compared with each other here, by
the headers of the files, and nothing is allocated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from safetensors import safe_open

from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.engine.native import (
    CONFIG,
    FILES,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    LARGEST_SCALE,
    WEIGHTS,
    check_files,
    fusion_files,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.safety import Fraction, Line, Shape, brief, check_shape, one_of, read_json

Shapes = Mapping[str, tuple[int, ...]]
"""Of a file's tensors, by their names."""

PLACES = (
    "adapters|invertible_adapters|loras|attention_text_task_adapters|attention_text_lang_adapters|"
    "layer_text_task_adapters|layer_text_lang_adapters|invertible_lang_adapters"
)
LIBRARY = tuple(dict.fromkeys(h.library for h in map(get_head, KINDS) if h.library))
"""The library's kinds of head that are known here."""
_MAX_CHOICES, _MAX_LABELS, _MAX_LAYERS, _MAX_RANK = 1000, 10_000, 8, 4096
_LEAST_FACTOR = 0.25


def named_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The name and the configuration in a file of the library's; refuses a file without them."""
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


def _check_own(path: Path, shapes: Shapes, own: str, of: str) -> None:
    """No tensor may have another name than the pattern of those that belong to a part."""
    other = next((key for key in shapes if not re.fullmatch(own, key)), None)
    _demand(other is None, path, f"'{brief(other)}' is no part of {of}")


def check_adapter(path: Path, shapes: Shapes) -> None:
    """Refuses an adapter's or a LoRA's configuration that the shapes of its weights do not fit."""
    name, config = named_config(path)
    own = rf"(.+\.)?({PLACES})\.{re.escape(name)}\..+"
    _check_own(path.parent / WEIGHTS, shapes, own, f"module '{brief(name)}'")
    kind = config.get("architecture")
    if kind == "lora":
        _check_lora(path, check_shape(_Lora, config, path), shapes)
    else:
        _check_bottleneck(path, check_shape(_Bottleneck, config, path), shapes)


_Scale = Annotated[float, Field(ge=-LARGEST_SCALE, le=LARGEST_SCALE)]
_Factor = Annotated[float, Field(ge=_LEAST_FACTOR)]
"""Bottlenecks may be wider than the trunk, but not by much."""


class _Config(Shape):
    """What the configurations of the library's have in common."""

    leave_out: list[Annotated[int, Field(ge=0, le=1 << 20)]] | None = None
    init_weights: Line = ""
    init_weights_seed: Annotated[int, Field(ge=0, le=1 << 31)] | None = None
    dropout: Fraction = 0.0
    use_gating: bool = False


class _Bottleneck(_Config):
    architecture: None = None
    mh_adapter: bool
    output_adapter: bool
    reduction_factor: _Factor | dict[str, _Factor]
    non_linearity: Line
    original_ln_before: bool = False
    original_ln_after: bool = True
    ln_before: bool = False
    ln_after: bool = False
    is_parallel: bool = False
    scaling: _Scale | Literal["learned", "channel"] = 1.0
    residual_before_ln: bool | Literal["post_add"] = True
    adapter_residual_before_ln: bool = False
    inv_adapter: Literal["nice", "glow"] | None = None
    inv_adapter_reduction_factor: _Factor | None = None
    cross_adapter: bool = False
    phm_layer: Literal[False] | None = None
    stochastic_depth: Fraction | None = None


class _Lora(_Config):
    r: Annotated[int, Field(ge=1, le=_MAX_RANK)]
    alpha: _Scale = 8
    attn_matrices: list[Literal["q", "k", "v"]] = Field(default_factory=list)
    composition_mode: Literal["add", "scale"] = "add"
    selfattn_lora: bool = True
    intermediate_lora: bool = False
    output_lora: bool = False
    use_dora: bool = False
    vera_d: None = None
    vera_b: None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None


def _check_lora(path: Path, config: _Lora, shapes: Shapes) -> None:
    ranks = {shape[0] for key, shape in shapes.items() if key.endswith(".lora_A") and shape}
    scales = config.composition_mode == "scale"
    fits = config.r == 1 if scales else not ranks or ranks == {config.r}
    _demand(fits, path, f"rank {config.r} is not that of the weights")


def _check_bottleneck(path: Path, config: _Bottleneck, shapes: Shapes) -> None:
    factors = config.reduction_factor
    values = list(factors.values()) if isinstance(factors, dict) else [factors]
    down = [shape for key, shape in shapes.items() if key.endswith("adapter_down.0.weight")]
    _check_factors(path, "reduction_factor", values, down)
    if config.inv_adapter is not None:
        inner = [shape for key, shape in shapes.items() if re.search(r"\.[FG]\.0\.weight$", key)]
        inverse = config.inv_adapter_reduction_factor
        _demand(inverse is not None, path, "'inv_adapter_reduction_factor' is missing")
        assert inverse is not None
        _check_factors(path, "inv_adapter_reduction_factor", [inverse], inner)


def _check_factors(
    path: Path, what: str, factors: list[float], shapes: list[tuple[int, ...]]
) -> None:
    """No matrix may be larger than one that is in the weights."""
    _demand(bool(factors), path, f"'{what}' names no factor")
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
    """Refuses a head's configuration that its weights do not fit, or that is of no known kind."""
    name, config = named_config(path)
    own = rf"heads\.{re.escape(name)}\..*"
    _check_own(path.parent / HEAD_WEIGHTS, shapes, own, f"the head of '{brief(name)}'")
    about = check_shape(_Head, config, path)
    rows = max((shape[0] for shape in shapes.values() if shape), default=0)
    _demand(about.num_labels <= rows, path, "'num_labels' is not that of the weights")
    spans = about.head_type == "question_answering"
    _demand(not spans or about.num_labels == 2, path, "'num_labels' of a span is 2: begin and end")
    if about.label2id is not None:
        numbers = sorted(about.label2id.values())
        count = about.num_choices if about.head_type == "multiple_choice" else about.num_labels
        _demand(
            numbers == list(range(count)), path, f"'label2id' does not number {count} labels from 0"
        )


class _Head(Shape):
    head_type: Annotated[str, one_of(LIBRARY)]
    num_labels: Annotated[int, Field(ge=1, le=_MAX_LABELS)] = 1
    num_choices: Annotated[int, Field(ge=1, le=_MAX_CHOICES)] = 1
    layers: Annotated[int, Field(ge=1, le=_MAX_LAYERS)] = 1
    label2id: dict[Line, int] | None = None
    activation_function: Line | None = None
    dropout_prob: Fraction | None = None
    bias: bool = True
    use_pooler: bool = False


class _Fusion(Shape):
    kind: Literal["full", "lean", "uniform", "arrow"]
    rank: Annotated[int, Field(ge=0, le=_MAX_RANK)]
    shared: bool
    sources: list[Line]


def check_module(folder: Path, method: str) -> None:
    """Refuses a module whose files are damaged; whether one is missing is for its record to say."""
    check_files(folder, fusion_files(folder, head=False) if is_fusion(method) else FILES[:1])
    check_contents(folder, method)


def check_contents(folder: Path, method: str) -> None:
    """Refuses configurations that do not fit the weights, of heads too where there are any."""
    if is_fusion(method):
        ((weights, config),) = fusion_files(folder, head=False)
        about = check_shape(_Fusion, read_json(folder / config), folder / config)
        sizes = {size for shape in shapes_in(folder / weights).values() for size in shape}
        fits = about.rank == 0 or about.rank in sizes
        _demand(fits, folder / config, f"rank {about.rank} is not that of the weights")
    else:
        check_adapter(folder / CONFIG, shapes_in(folder / WEIGHTS))
    for place in (folder, *sorted(folder.glob("heads/*"))):
        if (place / HEAD_WEIGHTS).is_file():
            check_files(place, FILES[1:])
            check_head(place / HEAD_CONFIG, shapes_in(place / HEAD_WEIGHTS))


def check_widths(folder: Path, hidden: int, intermediate: int) -> None:
    """Refuses weights of another width than a trunk's: the library would make room for them."""
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
    with safe_open(path, framework="numpy") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
