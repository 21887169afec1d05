"""Fusions as modules: added with a head, trained, written and read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from adapters import BnConfig, DynamicAdapterFusionConfig, StaticAdapterFusionConfig
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.lora import LoRALinear
from safetensors.torch import save_file
from torch import Tensor, nn

from adapter_stilts.engine.composition import UNLEARNT, Call, Expression, canonical, module_names
from adapter_stilts.engine.engine import (
    Engine,
    activate_block,
    add_head,
    block_of,
    module_parameters,
)
from adapter_stilts.engine.fusion_forward import ArrowFusion, LeanFusion, LoraFusion, UniformFusion
from adapter_stilts.engine.methods import LORAS_ALONE, NOT_SHARED
from adapter_stilts.engine.native import (
    FUSION_CONFIG,
    FUSION_WEIGHTS,
    HEAD_WEIGHTS,
    builds,
    check_files,
    fusion_files,
    fusion_weights_in,
    load_head,
    read_weights,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import PLAIN
from adapter_stilts.safety import brief, json_text
from adapter_stilts.tasks.spec import HeadKind

FusionKind = Literal["full", "lean", "uniform", "arrow"]

VALUE_PENALTY = 0.01
"""How strongly the value matrix is held near the identity (as in the library)."""


@dataclass(frozen=True)
class FusionShape:
    """What a fusion is like.

    `rank` is that of query and key of a lean fusion (0: a sixteenth of the width, for LoRAs a
    sixty-fourth); `shared` gives all layers the same one.
    """

    kind: FusionKind
    rank: int = 0
    shared: bool = False

    @classmethod
    def of(cls, method: str, rank: int = 0) -> FusionShape:
        """The shape that the name of a method (`fusion-lean`) stands for."""
        kind = method.removeprefix("fusion-")
        if kind == "shared":
            return cls("lean", rank, shared=True)
        return cls(kind, rank)  # type: ignore[arg-type]


@builds
def add_fusion(
    engine: Engine,
    name: str,
    sources: Sequence[Expression],
    shape: FusionShape,
    *,
    head: HeadKind = PLAIN,
    labels: Sequence[str] = (),
    choices: int = 0,
) -> None:
    """Adds a fusion over modules in the engine, with its head; these two alone are trainable.

    Without a kind of head there is none, as of `add_module`. Refuses a shared fusion of LoRAs,
    whose layers differ in width, and Arrow over other modules.

    Args:
        sources: modules by their names in the engine, or stacks of such.
    """
    engine.model.requires_grad_(False)
    engine.model.base_model.freeze_model(True)  # the library's trainer asks for that
    with engine.adding(name, trainable=True):
        _add_layers(engine, name, sources, shape)
        add_head(engine, name, head, labels=labels, choices=choices)
    engine.fusions[name] = (tuple(sources), shape)
    activate_block(engine, block_of(Call("fuse", tuple(sources), name)), name)


@builds
def add_unlearnt(engine: Engine, call: Call) -> None:
    """Adds a fusion of modules in the engine that needs no training: no parameters, no head."""
    name = canonical(call)
    if name not in engine.fusions:
        shape = FusionShape.of(call.operator)
        _add_layers(engine, name, call.parts, shape)
        engine.fusions[name] = (call.parts, shape)


def _add_layers(
    engine: Engine, name: str, sources: Sequence[Expression], shape: FusionShape
) -> None:
    if any(".loras." in key for each in modules_of(sources) for key in engine.modules[each]):
        if shape.shared:
            raise UserError(NOT_SHARED)
        add_lora_fusion(engine.model, name, sources, shape)
    elif shape.kind == "arrow":
        raise UserError(LORAS_ALONE)
    else:
        add_bottleneck_fusion(engine.model, name, sources, shape)


def add_bottleneck_fusion(
    model: Any, name: str, sources: Sequence[Expression], shape: FusionShape
) -> None:
    """Adds a fusion over bottleneck adapters in every layer that has any of them."""
    names, kind = modules_of(sources), shape.kind
    full = kind == "full"
    config = (DynamicAdapterFusionConfig if full else StaticAdapterFusionConfig)(dropout_prob=None)
    if full:
        model.add_adapter_fusion(names, config=config, name=name)
    else:
        model.adapters_config.add_fusion(names, config=config, fusion_name=name)
    one: nn.Module | None = None
    for layer in model.modules():
        if not isinstance(layer, BottleneckLayer):
            continue
        if not set(names) & set(layer.adapters):
            layer.delete_fusion_layer(name)  # which all the modules leave out
        elif not full:
            if one is None or not shape.shared:
                width = int(layer.model_config.hidden_size)
                rank = shape.rank or width // 16
                one = LeanFusion(width, rank) if kind == "lean" else UniformFusion()
            layer.adapter_fusion_layer[name] = one


def add_lora_fusion(
    model: Any, name: str, sources: Sequence[Expression], shape: FusionShape
) -> None:
    """Adds a fusion over LoRAs in every linear layer that has any of them; a full one is lean."""
    names = [name for source in sources for name in module_names(source)]
    for layer in model.modules():
        if not isinstance(layer, LoRALinear):
            continue
        ranks = [layer.loras[each].lora_A.shape[0] for each in names if each in layer.loras]
        if not ranks:
            continue
        if not hasattr(layer, "fusions"):
            layer.fusions = nn.ModuleDict()
        if shape.kind in UNLEARNT:
            made: nn.Module = ArrowFusion() if shape.kind == "arrow" else UniformFusion()
        else:
            width = layer.in_features
            made = LoraFusion(width, ranks, shape.rank or max(1, width // 64))
        layer.fusions[name] = made


def modules_of(sources: Sequence[Expression]) -> list[str]:
    """Every module of a fusion's sources once."""
    return list(dict.fromkeys(name for source in sources for name in module_names(source)))


def value_penalty(engine: Engine, name: str) -> Tensor | None:
    """How far a full fusion's value matrices are from the identity (Pfeiffer et al. 2021, 3.2).

    A scalar to add to the loss; None where no such matrix learns.
    """
    values = [engine.model.get_parameter(key) for key in engine.modules[name] if is_value(key)]
    learning = [value for value in values if value.requires_grad]
    if not learning:
        return None
    eye = torch.eye(learning[0].shape[0], device=learning[0].device)
    return VALUE_PENALTY * torch.stack([(value - eye).square().sum() for value in learning]).sum()


def is_value(key: str) -> bool:
    """Whether a parameter is a fusion's value matrix, which begins as the identity."""
    return ".adapter_fusion_layer." in key and key.endswith(".value.weight")


def save_fusion(engine: Engine, name: str, folder: Path, called: Collection[str] = ()) -> None:
    """Writes a fusion and its head; plain `adapters` reads it where it computes the same.

    Outside the engine its modules are `called` so.
    """
    sources, shape = engine.fusions[name]
    folder.mkdir(parents=True, exist_ok=True)
    if _is_native(engine, name) and set(called) == set(modules_of(sources)):
        engine.model.save_adapter_fusion(str(folder), name, use_safetensors=True)
    else:
        tensors = {
            _general(key): parameter.detach().float().cpu().contiguous()
            for key, parameter in module_parameters(engine, name).items()
            if not key.startswith("heads.")
        }
        save_file(tensors, folder / FUSION_WEIGHTS, metadata={"format": "pt"})
    about = {**asdict(shape), "sources": list(map(canonical, sources))}
    (folder / FUSION_CONFIG).write_text(json_text(about), encoding="utf-8")
    if name in engine.model.heads:
        engine.model.save_head(str(folder), name, use_safetensors=True)


def _is_native(engine: Engine, name: str) -> bool:
    """Whether the library computes the same: not over LoRAs, stacks, or parallel adapters."""
    sources, shape = engine.fusions[name]
    config = engine.model.adapters_config
    return shape.kind == "full" and all(
        isinstance(each, str) and config.match(each, BnConfig) and not config.get(each).is_parallel
        for each in sources
    )


@builds
def load_fusion(
    engine: Engine, folder: Path, name: str, sources: Sequence[Expression], *, head: bool = True
) -> None:
    """Adds a saved fusion, with its head if it has one, over modules that are in the engine.

    Refuses files that are missing or damaged, and weights that do not fit the modules.
    """
    check_files(folder, fusion_files(folder, head=head))
    about: dict[str, Any] = json.loads((folder / FUSION_CONFIG).read_text(encoding="utf-8"))
    if len(about.get("sources", ())) != len(sources):
        written = ", ".join(map(canonical, sources))
        raise UserError(f"{folder / FUSION_CONFIG}: fuses other modules than {written}")
    shape = FusionShape(about["kind"], int(about["rank"]), bool(about["shared"]))
    with engine.adding(name):
        _add_layers(engine, name, sources, shape)
    _fill(module_parameters(engine, name), folder / fusion_weights_in(folder))
    if head:
        load_head(engine, name, name, folder)
    engine.fusions[name] = (tuple(sources), shape)
    engine.model.eval()


def start_fusion(engine: Engine, name: str, folder: Path) -> None:
    """Sets a fusion's weights, and its head's, to those of another over the same modules on disk.

    Refuses files that are missing or damaged, and weights of another shape.
    """
    own = module_parameters(engine, name)
    head = {key: p for key, p in own.items() if key.startswith("heads.")}
    check_files(folder, fusion_files(folder, head=bool(head)))
    _fill({key: p for key, p in own.items() if key not in head}, folder / fusion_weights_in(folder))
    if head:
        _fill(head, folder / HEAD_WEIGHTS)


def _fill(own: Mapping[str, torch.nn.Parameter], path: Path) -> None:
    """Copies what a file holds into the parameters; the fusion may have another name there."""
    tensors = {_general(key): tensor for key, tensor in read_weights(path).items()}
    odd = {_general(key) for key in own} ^ tensors.keys()
    if odd:
        raise UserError(f"{path} does not fit the modules it fuses ({brief(min(odd))})")
    for key, parameter in own.items():
        found = tensors[_general(key)]
        if found.shape != parameter.shape:
            raise UserError(f"{path} does not fit the modules it fuses ({key})")
        with torch.no_grad():
            parameter.copy_(found)


def _general(key: str) -> str:
    """The parameter's name without that of the fusion."""
    inside = re.sub(r"\.(adapter_fusion_layer|fusions)\.[^.]+\.", r".\1.fusion.", key)
    return re.sub(r"^heads\.[^.]+\.", "heads.fusion.", inside)
