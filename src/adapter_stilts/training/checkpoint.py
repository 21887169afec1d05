"""Checkpoints without pickles: tensors as safetensors, the rest as JSON.

A checkpoint is a folder `checkpoint-STEP` that appears whole or not at all:

    module.safetensors      the module's and its head's weights
    best.safetensors        the same at the best evaluation so far (if there was one)
    optimizer.safetensors   AdamW's moments; scheduler and parameter groups in its metadata
    rng-RANK.safetensors    random states of Python, NumPy, torch and CUDA
    trainer_state.json      transformers' own record: step, best score, callbacks' states
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from adapter_stilts.errors import UserError

Tensors = dict[str, torch.Tensor]

MODULE, BEST, OPTIMIZER = "module.safetensors", "best.safetensors", "optimizer.safetensors"


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step number in a run's folder."""
    found = [
        (int(match.group(1)), path)
        for path in (folder.glob("checkpoint-*") if folder.is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    ]
    return max(found)[1] if found else None


def drop_older_checkpoints(folder: Path, keep: Path) -> None:
    """Removes all checkpoints but one, and what interrupted writes left."""
    for path in [*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*")]:
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def read_tensors(path: Path) -> Tensors:
    """A safetensors file.

    Raises:
        UserError: the file is damaged or missing.
    """
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{path}: damaged or missing weights file ({error})") from error


def save_optimizer(
    path: Path, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler
) -> None:
    """Writes an optimizer's moments, its parameter groups and the scheduler's state."""
    state = optimizer.state_dict()
    tensors = {
        f"{number}.{key}": torch.as_tensor(value).contiguous()
        for number, values in state["state"].items()
        for key, value in values.items()
    }
    metadata = {
        "groups": json.dumps(state["param_groups"]),
        "scheduler": json.dumps(scheduler.state_dict()),
    }
    save_file(tensors, path, metadata=metadata)


def load_optimizer(
    path: Path, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler
) -> None:
    """Restores what `save_optimizer` wrote."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in read_tensors(path).items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    optimizer.load_state_dict({"state": state, "param_groups": json.loads(metadata["groups"])})
    scheduler.load_state_dict(json.loads(metadata["scheduler"]))


def save_rng(path: Path) -> None:
    """Writes the states of all random number generators of this process."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors: Tensors = {
        "torch": torch.random.get_rng_state(),
        "python": torch.tensor(internal, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    rest = {"python": [version, gauss], "numpy": [name, position, has_gauss, cached]}
    save_file(tensors, path, metadata={"rest": json.dumps(rest)})


def load_rng(path: Path) -> None:
    """Restores what `save_rng` wrote."""
    tensors = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        rest: Mapping[str, Any] = json.loads(file.metadata()["rest"])
    version, gauss = rest["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    name, position, has_gauss, cached = rest["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))
    torch.random.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
