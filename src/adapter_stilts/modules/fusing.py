"""Fusions as modules: added with a head, trained, written and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from adapters.composition import Fuse
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapter_stilts.errors import UserError
from adapter_stilts.modules.engine import (
    Engine,
    activate_block,
    add_head,
    module_parameters,
)
from adapter_stilts.modules.fusion import FusionKind, add_bottleneck_fusion, add_lora_fusion
from adapter_stilts.modules.native import HEAD_CONFIG, HEAD_WEIGHTS, check_files
from adapter_stilts.tasks.spec import HeadKind

WEIGHTS, CONFIG = "fusion.safetensors", "fusion.json"
FUSION_FILES = ((WEIGHTS, CONFIG), (HEAD_WEIGHTS, HEAD_CONFIG))
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


def add_fusion(
    engine: Engine,
    name: str,
    sources: Sequence[str],
    shape: FusionShape,
    *,
    head: HeadKind = "embedding",
    labels: Sequence[str] = (),
    choices: int = 0,
    head_dropout: float = 0.0,
) -> None:
    """Adds a fusion over modules in the engine, with its head; these two alone are trainable.

    Without a kind of head there is none, as of `add_module`.

    Raises:
        UserError: a shared fusion of LoRAs, whose layers differ in width.
    """
    engine.model.requires_grad_(False)
    engine.model.base_model.freeze_model(True)  # the library's trainer asks for that
    before = {key for key, _ in engine.model.named_parameters()}
    _add_layers(engine, name, sources, shape)
    add_head(engine, name, head, labels=labels, choices=choices, dropout=head_dropout)
    _claim(engine, name, before, trainable=True)
    engine.fusions[name] = (tuple(sources), shape)
    activate_block(engine, Fuse(*sources, name=name), name)


def _add_layers(engine: Engine, name: str, sources: Sequence[str], shape: FusionShape) -> None:
    if any(".loras." in key for key in engine.modules[sources[0]]):
        if shape.shared:
            raise UserError("a fusion of LoRAs cannot be shared: their layers differ")
        kind: FusionKind = "lean" if shape.kind == "full" else shape.kind
        add_lora_fusion(engine.model, name, sources, kind, rank=shape.rank)
    else:
        add_bottleneck_fusion(
            engine.model, name, sources, shape.kind, rank=shape.rank, shared=shape.shared
        )


def _claim(engine: Engine, name: str, before: set[str], *, trainable: bool) -> None:
    """Makes all parameters that are new the fusion's own, in float32."""
    added = {key: p for key, p in engine.model.named_parameters() if key not in before}
    engine.modules[name] = tuple(added)
    for parameter in added.values():
        parameter.data = parameter.data.to(engine.device, torch.float32)
        parameter.requires_grad_(trainable)


def value_penalty(engine: Engine, name: str) -> Tensor | None:
    """How far a full fusion's value matrices are from the identity (Pfeiffer et al. 2021, 3.2)."""
    values = [p for key, p in module_parameters(engine, name).items() if is_value(key)]
    learning = [value for value in values if value.requires_grad]
    if not learning:
        return None
    eye = torch.eye(learning[0].shape[0], device=learning[0].device)
    return VALUE_PENALTY * torch.stack([(value - eye).square().sum() for value in learning]).sum()


def is_value(key: str) -> bool:
    """Whether a parameter is a fusion's value matrix, which begins as the identity."""
    return ".adapter_fusion_layer." in key and key.endswith(".value.weight")


def save_fusion(engine: Engine, name: str, folder: Path) -> None:
    """Writes a fusion and its head."""
    sources, shape = engine.fusions[name]
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        _general(key, name): parameter.detach().float().cpu().contiguous()
        for key, parameter in module_parameters(engine, name).items()
        if not key.startswith("heads.")
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    about = {**asdict(shape), "sources": list(sources)}
    (folder / CONFIG).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    engine.model.save_head(str(folder), name, use_safetensors=True)


def load_fusion(engine: Engine, folder: Path, name: str, sources: Sequence[str]) -> None:
    """Adds a saved fusion, with its head, over modules that are in the engine.

    Raises:
        UserError: a file is missing or damaged, or the weights do not fit the modules.
    """
    check_files(folder, FUSION_FILES)
    about: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if len(about.get("sources", ())) != len(sources):
        raise UserError(f"{folder / CONFIG}: fuses other modules than {', '.join(sources)}")
    before = {key for key, _ in engine.model.named_parameters()}
    shape = FusionShape(about["kind"], int(about["rank"]), bool(about["shared"]))
    _add_layers(engine, name, sources, shape)
    _claim(engine, name, before, trainable=False)
    own = module_parameters(engine, name)
    tensors = load_file(folder / WEIGHTS)
    for key, parameter in own.items():
        found = tensors.get(_general(key, name))
        if found is None or found.shape != parameter.shape:
            raise UserError(f"{folder / WEIGHTS} does not fit the modules it fuses ({key})")
        with torch.no_grad():
            parameter.copy_(found)
    engine.model.load_head(str(folder), load_as=name, use_safetensors=True)
    engine.model.to(device=engine.device)
    _claim(engine, name, before, trainable=False)
    engine.fusions[name] = (tuple(sources), shape)
    engine.model.eval()


def _general(key: str, name: str) -> str:
    """The parameter's name without that of the fusion."""
    for place in (".adapter_fusion_layer.", ".fusions."):
        key = key.replace(f"{place}{name}.", f"{place}fusion.")
    return key
