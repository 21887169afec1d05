"""Modules and heads in the formats of `adapters` and of `peft`, as safetensors only."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from safetensors import SafetensorError, safe_open

from adapter_stilts.errors import UserError
from adapter_stilts.heads import KINDS, get_head, settle
from adapter_stilts.safety import brief, first_line, printable, read_json
from adapter_stilts.tasks.spec import HeadKind

if TYPE_CHECKING:
    from torch import Tensor

    from adapter_stilts.engine.engine import Engine

CONFIG, WEIGHTS = "adapter_config.json", "adapter.safetensors"
HEAD_CONFIG, HEAD_WEIGHTS = "head_config.json", "model_head.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
FLOATS = ("float32", "float16", "bfloat16", "float64")
"""What weights are stored in. Integers, truth values and complex numbers are no weights; converting
them would make some."""
LARGEST = 1e12
"""No weight is larger: of two matrices and `LARGEST_SCALE`, the product stays within float32."""
LARGEST_SCALE = 1e6
"""No scaling of a module (LoRA's alpha among them) is larger."""
BUILDING = threading.RLock()
"""One model at a time is built in a process. While transformers loads one, it takes out of torch
for all threads that parameters have values and are drawn at random: what another thread builds
meanwhile would be empty."""

P = ParamSpec("P")
R = TypeVar("R")


def builds(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function that adds layers to a model wait until no other thread builds one."""

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        with BUILDING:
            return function(*args, **given)

    return call


def check_weights(path: Path) -> None:
    """Refuses a safetensors file that is damaged, or holds what are no weights."""
    for _ in _check_tensors(path):
        pass


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; refuses what `check_weights` refuses."""
    return dict(_check_tensors(path))


def _check_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors one by one, each looked at."""
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                tensor = file.get_tensor(key)
                _check(path, key, tensor)
                yield key, tensor
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: damaged or truncated weights file ({first_line(error)})"
        ) from error


def _check(path: Path, key: str, tensor: Tensor) -> None:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in FLOATS:
        raise UserError(f"{path}: '{brief(key)}' holds {kind} values, which are no weights")
    if not in_range(tensor):
        raise UserError(
            f"{path}: '{brief(key)}' holds values that are not finite, or above {LARGEST:g}: train "
            "or copy the module again"
        )


def in_range(tensor: Tensor) -> bool:
    """Whether all values, in any shape, are finite and of a size that weights have."""
    if not tensor.numel():
        return True
    low, high = tensor.aminmax()  # either is NaN where any value is
    return float(low) >= -LARGEST and float(high) <= LARGEST


def save_native(engine: Engine, name: str, folder: Path) -> None:
    """Writes the module and its head; plain `model.load_adapter(folder)` reads them."""
    engine.model.save_adapter(str(folder), name, with_head=True, use_safetensors=True)
    drop_other_heads(folder / HEAD_WEIGHTS, name)


def drop_other_heads(path: Path, name: str) -> None:
    """Saving the head of `squad`, `adapters` writes that of `squad-v2` as well, if it is there."""
    from safetensors.torch import load_file, save_file

    if not path.is_file():
        return
    tensors = load_file(path)
    own = {key: value for key, value in tensors.items() if is_in_head(key, name)}
    if len(own) < len(tensors):
        save_file(own, path, metadata={"format": "pt"})


def is_in_head(key: str, name: str) -> bool:
    """Whether a parameter belongs to the head of that name."""
    return key.startswith(f"heads.{name}.")


@builds
def load_native(engine: Engine, folder: Path, name: str, *, head: bool = True) -> None:
    """Adds a saved module, with its head if it has one, under `name`, and makes them active.

    Refuses files that are missing, damaged or pickles, and weights that do not fit the backbone.
    """
    check_files(folder, FILES if head else FILES[:1])
    report: dict[str, Any] = {}
    how = {"with_head": head, "set_active": True, "loading_info": report}
    try:
        with engine.adding(name):
            engine.model.load_adapter(str(folder), load_as=name, use_safetensors=True, **how)
    except Exception as error:  # the library checks little of what it reads
        _withdraw(engine, name)
        raise UserError(
            f"{folder}: the weights do not fit backbone '{engine.backbone.name}' "
            f"({_last_line(error)})"
        ) from error
    # Loading the head of `squad`, `adapters` misses that of `squad-v2`, if it is in the engine.
    missing = [
        key
        for key in report.get("missing_keys", ())
        if not key.startswith("heads.") or is_in_head(key, name)
    ]
    if missing or report.get("unexpected_keys"):
        _withdraw(engine, name)
        what = f"lack {missing[0]}" if missing else f"have {report['unexpected_keys'][0]} too many"
        raise UserError(f"{folder}: weights {brief(what)}")
    engine.model.active_head = name if head else None
    if head:
        settle(engine.model.heads[name])
    engine.model.to(device=engine.device)
    engine.model.eval()


def _withdraw(engine: Engine, name: str) -> None:
    """Takes out what half a loading has left."""
    engine.modules.pop(name, None)
    with contextlib.suppress(Exception):
        engine.model.delete_adapter(name)
    with contextlib.suppress(Exception):
        engine.model.delete_head(name)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[-1].strip()[:160]) if lines else type(error).__name__


HEAD_FILES = ((HEAD_WEIGHTS, HEAD_CONFIG),)
FILES = ((WEIGHTS, CONFIG), *HEAD_FILES)
"""A module's weights and their configuration, and its head's."""


def check_files(folder: Path, files: Sequence[tuple[str, str]] = FILES) -> None:
    """Refuses a folder without readable safetensors before anything is loaded from it."""
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    for weights, config in files:
        path = folder / weights
        if not path.is_file():
            if pickles:
                raise UserError(
                    f"{folder / pickles[0]} is a pickle, which can run code when loaded: only "
                    "safetensors are accepted (ask its author to save with use_safetensors=True)"
                )
            raise UserError(f"{folder} has no {weights}: not a module, or not completely copied")
        check_weights(path)
        read_json(folder / config)


def check_head_whole(engine: Engine, head: str, folder: Path) -> None:
    """Refuses a head in the engine that did not get just its weights from a folder."""
    path = folder / HEAD_WEIGHTS
    with safe_open(path, framework="pt") as file:
        saved = {key.removeprefix("heads.") for key in file.keys()}  # noqa: SIM118
    name = str(read_json(folder / HEAD_CONFIG)["name"])
    own = {f"{name}.{key}" for key, _ in engine.model.heads[head].named_parameters()}
    if odd := own ^ saved:
        raise UserError(f"{path}: '{brief(min(odd))}' is missing, or one too many")


HEADS = "heads"
"""The folder of the heads of a module of several tasks, in a folder each."""


def head_name(module: str, task: str) -> str:
    """What a module's head for a task is called in the engine."""
    return f"{module}:{task}" if task else module


def claim_head(engine: Engine, module: str, head: str, *, trainable: bool) -> None:
    """Counts a head in the engine among a module's parameters, and makes it active."""
    own = {key: p for key, p in engine.model.named_parameters() if is_in_head(key, head)}
    engine.modules[module] = tuple(dict.fromkeys((*engine.modules[module], *own)))
    for parameter in own.values():
        parameter.data = parameter.data.to(engine.device).float()
        parameter.requires_grad_(trainable)
    engine.model.active_head = head if own else engine.model.active_head


def save_heads(engine: Engine, module: str, tasks: Iterable[str], folder: Path) -> None:
    """Writes a module's heads; plain `model.load_head(folder / "heads" / task)` reads one."""
    for task in tasks:
        head = head_name(module, task)
        place = folder / HEADS / task
        place.mkdir(parents=True)
        engine.model.save_head(str(place), head, use_safetensors=True)
        drop_other_heads(place / HEAD_WEIGHTS, head)


def load_heads(engine: Engine, module: str, tasks: Iterable[str], folder: Path) -> None:
    """Adds a saved module's heads to the engine, where the module is already, as `load_head`."""
    for task in tasks:
        load_head(engine, module, head_name(module, task), folder / HEADS / task)


@builds
def load_head(engine: Engine, module: str, head: str, folder: Path) -> None:
    """Adds a saved head to the engine, where the module is already.

    Refuses files that are missing or damaged, and weights that do not fit the backbone.
    """
    check_files(folder, HEAD_FILES)
    try:
        engine.model.load_head(str(folder), load_as=head, use_safetensors=True)
    except (RuntimeError, OSError, LookupError, ValueError, TypeError) as error:
        what = f"the head does not fit backbone '{engine.backbone.name}' ({_last_line(error)})"
        raise UserError(f"{folder}: {what}") from error
    if head not in engine.model.heads:
        raise UserError(f"{folder / HEAD_CONFIG} is not a head for this backbone")
    check_head_whole(engine, head, folder)
    settle(engine.model.heads[head])
    claim_head(engine, module, head, trainable=False)
    engine.model.eval()


def head_choices(engine: Engine, name: str) -> int:
    """How many options a head chooses among; 0 where there is no head, or of another kind."""
    if name not in engine.model.heads:
        return 0
    return int(engine.model.heads[name].config.get("num_choices") or 0)


def head_labels(engine: Engine, name: str) -> tuple[str, ...]:
    """The label names of a head by number (`LABEL_0` ... where it was given none)."""
    if name not in engine.model.heads:
        return ()
    return _labels(engine.model.heads[name].config)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    label2id = config.get("label2id") or {}
    return tuple(sorted(label2id, key=lambda label: int(label2id[label])))


def read_head(folder: Path) -> tuple[tuple[str, ...], int]:
    """The label names and the number of choices of a saved head; refuses damaged files."""
    check_files(folder, HEAD_FILES)
    return read_labels(folder)


def read_labels(folder: Path) -> tuple[tuple[str, ...], int]:
    """The labels and the number of choices of its configuration alone.

    A configuration that is damaged is refused.
    """
    try:
        config = read_json(folder / HEAD_CONFIG)["config"]
        choices = config.get("num_choices") or 0
        if type(choices) is not int:
            raise TypeError
        return _labels(config), choices
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / HEAD_CONFIG}: not the configuration of a head") from error


def halve(path: Path) -> None:
    """Rewrites a safetensors file with its float32 values in float16, which has 11 bits of each.

    bfloat16 would keep 8 bits and a range that no module needs. Whoever loads the file gets float32
    again: the libraries copy values into parameters that are there. Refuses a value beyond
    float16's range.
    """
    import torch
    from safetensors.torch import load_file, save_file

    halved = {}
    for key, tensor in load_file(path).items():
        single = tensor.dtype == torch.float32
        halved[key] = tensor.half() if single else tensor
        if single and not torch.equal(halved[key].isfinite(), tensor.isfinite()):
            raise UserError(f"{path}: '{key}' has values beyond the range of half precision")
    save_file(halved, path, metadata={"format": "pt"})


def is_halved(paths: Iterable[Path]) -> bool:
    """Whether any tensor of these files is stored in half precision."""
    for path in paths:
        with safe_open(path, framework="numpy") as file:
            if any(file.get_slice(key).get_dtype() == "F16" for key in file.keys()):  # noqa: SIM118
                return True
    return False


def has_peft_format(model_type: str) -> bool:
    """Whether modules on this architecture can be written for peft."""
    return all(model_type in get_head(kind).peft_layers for kind in KINDS)


def save_peft(engine: Engine, name: str, kind: HeadKind, folder: Path) -> None:
    """Writes a LoRA module and its head as `adapter_config.json` and `adapter_model.safetensors`.

    The static classes with the same logits (for sentence vectors: hidden states) are
    its `auto_class`; the head's layers become `modules_to_save`. Of the kind `embedding` there is
    the module alone, whatever heads it has. A tensor that the format has no place for is a
    `ValueError`.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    from adapter_stilts.engine.engine import module_parameters

    config = engine.model.adapters_config.get(name)
    prefix = engine.model.base_model_prefix
    places = get_head(kind).peft_layers[engine.model.config.model_type]
    tensors: dict[str, Tensor] = {}
    for key, parameter in module_parameters(engine, name).items():
        value = parameter.detach().float().cpu().contiguous()
        if lora := re.fullmatch(rf"(.+)\.loras\.{re.escape(name)}\.lora_([AB])", key):
            # The class without a head is the trunk itself.
            place = lora[1] if places else lora[1].removeprefix(f"{prefix}.")
            tensors[f"base_model.model.{place}.lora_{lora[2]}.weight"] = value
        elif head := re.fullmatch(rf"heads\.{re.escape(name)}\.(\d+)\.(weight|bias)", key):
            place = places[head[1]]
            inside = f"{prefix}.{place}" if place.startswith("pooler") else place
            tensors[f"base_model.model.{inside}.{head[2]}"] = value
        elif places or not key.startswith("heads."):
            raise ValueError(f"no place for {key} in peft's format")
    saved = sorted({place.split(".")[0] for place in places.values()})
    folder.mkdir(parents=True, exist_ok=True)
    LoraConfig(
        task_type=get_head(kind).peft_task,
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=_pattern(tensors),
        modules_to_save=saved or None,
        base_model_name_or_path=engine.backbone.name,
        inference_mode=True,
    ).save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _pattern(tensors: Mapping[str, Tensor]) -> str:
    """A regular expression that matches exactly the adapted linear layers."""
    found: dict[str, set[str]] = {}
    for key in tensors:
        match = re.fullmatch(r"base_model\.model\.(.+\.layer)\.(\d+)\.(.+)\.lora_A\.weight", key)
        if match:
            found.setdefault(match[3], set()).add(match[2])
            stem = match[1]
    layers = sorted({number for numbers in found.values() for number in numbers}, key=int)
    parts = "|".join(re.escape(part) for part in sorted(found))
    return rf"{re.escape(stem)}\.({'|'.join(layers)})\.({parts})"


FUSION_WEIGHTS, FUSION_CONFIG = "fusion.safetensors", "fusion.json"
NATIVE_WEIGHTS, NATIVE_CONFIG = "model_adapter_fusion.safetensors", "adapter_fusion_config.json"
"""What plain `adapters` reads, in place of `FUSION_WEIGHTS` where it computes the same."""


def fusion_files(folder: Path, *, head: bool) -> tuple[tuple[str, str], ...]:
    """A fusion's weights and their configuration, and its head's if it has one."""
    return ((fusion_weights_in(folder), FUSION_CONFIG), (HEAD_WEIGHTS, HEAD_CONFIG))[: 1 + head]


def fusion_weights_in(folder: Path) -> str:
    """The name of the file with the weights of a fusion."""
    return NATIVE_WEIGHTS if (folder / NATIVE_WEIGHTS).is_file() else FUSION_WEIGHTS
