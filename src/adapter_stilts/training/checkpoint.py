"""Checkpoints without pickles: tensors as safetensors, the rest as JSON.

A checkpoint is a folder `checkpoint-STEP` that appears whole or not at all:

    module.safetensors      the module's and its head's weights
    best.safetensors        the same at the best evaluation so far (if there was one)
    recent-N.safetensors    the same at the last evaluations, where their mean is to be kept
    optimizer.safetensors   AdamW's moments; scheduler and parameter groups in its metadata
    rng-RANK.safetensors    random states of Python, NumPy, torch and CUDA
    trainer_state.json      transformers' own record: step, best score, callbacks' states
    files.json              the SHA-256 of all of these, so that a damaged one is not resumed from
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.safety import first_line, is_plain_path, read_json
from adapter_stilts.training.folders import OtherRunError

Tensors = dict[str, torch.Tensor]

MODULE, BEST, OPTIMIZER = "module.safetensors", "best.safetensors", "optimizer.safetensors"
MANIFEST = "files.json"
BEGIN_ANEW = "begin anew with --overwrite"


def drop_older_checkpoints(folder: Path, keep: Path) -> None:
    """Removes all checkpoints but one, and what interrupted writes left."""
    for path in [*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*")]:
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Writes down what the files of a checkpoint hold."""
    found = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")


def check_manifest(folder: Path) -> None:
    """Refuses a checkpoint of which a file is missing, or holds something else than was written."""
    listed = None
    with contextlib.suppress(UserError):
        listed = read_json(folder / MANIFEST)
    if not isinstance(listed, dict) or not listed.keys() >= {MODULE, OPTIMIZER}:
        raise OtherRunError(f"{folder / MANIFEST} is damaged or missing: {BEGIN_ANEW}")
    for name, expected in listed.items():
        path = folder / name
        if not is_plain_path(name) or not path.is_file():
            raise OtherRunError(f"{path} is missing: {BEGIN_ANEW}")
        if file_sha256(path) != expected:
            raise OtherRunError(
                f"{path} is damaged: its content is not what was saved; {BEGIN_ANEW}"
            )


def copy_into(parameters: Mapping[str, torch.Tensor], tensors: Tensors, path: Path) -> None:
    """Sets parameters to what was saved of them, all and nothing else; refuses other shapes."""
    odd = sorted(parameters.keys() ^ tensors.keys())
    for key in parameters.keys() & tensors.keys():
        one, other = parameters[key], tensors[key]
        odd += [key] * ((one.shape, one.dtype) != (other.shape, other.dtype))
    if odd:
        raise OtherRunError(f"{path}: '{odd[0]}' is not as it was saved; {BEGIN_ANEW}")
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[key])


def save_recent(folder: Path, recent: Sequence[Tensors]) -> None:
    """Writes the weights at the last evaluations, the oldest first."""
    for number, tensors in enumerate(recent):
        save_file(tensors, folder / f"recent-{number}.safetensors")


def read_recent(folder: Path) -> list[Tensors]:
    """What `save_recent` wrote; refuses a damaged file."""
    count = len(list(folder.glob("recent-*.safetensors")))
    return [read_tensors(folder / f"recent-{number}.safetensors") for number in range(count)]


def mean_of(recent: Sequence[Tensors]) -> Tensors:
    """The mean of weights of one training (Schmidt et al. 2023, arXiv:2305.16834)."""
    first = recent[0]
    return {
        key: torch.stack([each[key].double() for each in recent]).mean(0).to(first[key].dtype)
        for key in first
    }


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file; refuses one that is damaged or missing."""
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise OtherRunError(
            f"{path}: damaged or missing weights file ({first_line(error)}); {BEGIN_ANEW}"
        ) from error


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
        "groups": json.dumps(state["param_groups"], allow_nan=False),
        "scheduler": json.dumps(scheduler.state_dict(), allow_nan=False),
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
    save_file(tensors, path, metadata={"rest": json.dumps(rest, allow_nan=False)})


def load_rng_of(checkpoint: Path, process: int, processes: int) -> None:
    """Restores a process's random states; refuses a checkpoint of another number of processes."""
    count = len(list(checkpoint.glob("rng-*.safetensors")))
    if count != processes:
        raise UserError(
            f"{checkpoint} was written by {count} processes: resume with as many, not {processes}"
        )
    load_rng(checkpoint / f"rng-{process}.safetensors")


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
