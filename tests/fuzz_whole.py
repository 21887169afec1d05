"""Changes of somebody who makes all files of a module agree with each other."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from adapter_stilts.engine.methods import METHODS
from adapter_stilts.heads import KINDS
from adapter_stilts.zoo.record import RECORD
from fuzz_values import ODD_LABELS, ODD_NAMES, OF_FIELD, SIZES


def _record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(folder / RECORD, change)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Changes what is in a JSON file."""
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def _of_no_task(folder: Path, chance: random.Random) -> str:
    _record(folder, lambda record: record.update(task="nothing"))
    return "nothing"


def _other_labels(folder: Path, chance: random.Random) -> str:
    """So many labels in the head, its weights and the record, some with odd names."""
    count = chance.choice((1, 2, 4, 30))
    labels = [*chance.sample(ODD_LABELS, min(count, 3)), *map(str, range(count))][:count]
    about = {"label2id": {label: n for n, label in enumerate(labels)}, "num_labels": count}
    edit(folder / "head_config.json", lambda value: value["config"].update(about))
    tensors = load_file(folder / "model_head.safetensors")
    last = max(int(key.split(".")[2]) for key in tensors)
    for key, tensor in tensors.items():
        if f".{last}." in key:
            tensors[key] = tensor[:1].repeat(count, *[1] * (tensor.ndim - 1))
    save_file(tensors, folder / "model_head.safetensors")
    if (folder / RECORD).is_file():
        _of_no_task(folder, chance)
        _record(folder, lambda record: record["data"].update(labels=count))
    return str(labels)[:80]


def _other_choices(folder: Path, chance: random.Random) -> str:
    count = chance.choice((1, 2, 5, 1000))
    edit(folder / "head_config.json", lambda value: value["config"].update(num_choices=count))
    return f"{count}, {_of_no_task(folder, chance)}"


def _other_name(folder: Path, chance: random.Random) -> str:
    name = chance.choice(ODD_NAMES)
    _record(folder, lambda record: record.update(name=name, composition=name))
    return name[:40]


def _other_composition(folder: Path, chance: random.Random) -> str:
    name = json.loads((folder / RECORD).read_text("utf-8"))["name"]
    below = chance.choice(("good", "bad", name))
    written = chance.choice(
        (f"stack({below}, {name})", f"fuse({below}, {name})", f"{below}", "none")
    )
    bases = {below: {"run": "9" * 16, "path": "/zoo"}}
    _record(folder, lambda record: record.update(composition=written, bases=bases))
    return written


def _other_run(folder: Path, chance: random.Random) -> str:
    _record(folder, lambda record: record.update(run="9" * 16))
    return "that of another module"


def _other_length(folder: Path, chance: random.Random) -> str:
    length, stride = chance.choice(SIZES), chance.choice(SIZES)
    _record(folder, lambda record: record["recipe"].update(max_length=length, stride=stride))
    return f"{length} {stride}"


def _other_method(folder: Path, chance: random.Random) -> str:
    method = chance.choice(tuple(METHODS))
    _record(folder, lambda record: record.update(method=method))
    _record(folder, lambda record: record["recipe"].update(method=method))
    return method


def _other_head(folder: Path, chance: random.Random) -> str:
    head, task = chance.choice((*KINDS, "none")), chance.choice(("nothing", "lang-sw", ""))
    _record(folder, lambda record: record.update(head=head, task=task))
    return f"{head} {task}"


def _other_setting(folder: Path, chance: random.Random) -> str:
    name = chance.choice(("adapter_config.json", "head_config.json"))
    likely = sorted(OF_FIELD)
    path = folder / name
    known = [key for key in likely if key in json.loads(path.read_text("utf-8"))["config"]]
    key = chance.choice(known)
    value = chance.choice(OF_FIELD[key])
    edit(path, lambda about: about["config"].update({key: value}))
    return f"{name} {key} {value!r}"


def _at_the_limit(folder: Path, chance: random.Random) -> str:
    paths = sorted(folder.rglob("*.safetensors"))
    path, most = chance.choice(paths), chance.choice((1e3, 1e6, 1e9, 1e12))
    tensors = load_file(path)
    save_file({k: torch.sign(x.float()) * most for k, x in tensors.items()}, path)
    return f"{path.name} {most:g}"


def _thresholds(folder: Path, chance: random.Random) -> str:
    value = chance.choice(OF_FIELD["no_answer_threshold"])
    _record(folder, lambda record: record.update(no_answer_threshold=value))
    return repr(value)


def _more_heads(folder: Path, chance: random.Random) -> str:
    """One head more than there were, under an odd name."""
    name = chance.choice(("qqp", "a+b", "é", "a.b", "lareqa", "x" * 200))
    source = folder / "heads" / "mnli"
    shutil.copytree(source, folder / "heads" / name)

    def change(record: dict[str, Any]) -> None:
        record["heads"][name] = record["heads"]["mnli"]
        for path in sorted(source.iterdir()):
            record["files"][f"heads/{name}/{path.name}"] = ""

    _record(folder, change)
    return name[:20]


WHOLE: Mapping[str, Callable[[Path, random.Random], str]] = {
    "of no task": _of_no_task,
    "other labels": _other_labels,
    "other choices": _other_choices,
    "other name": _other_name,
    "other composition": _other_composition,
    "other run": _other_run,
    "other length": _other_length,
    "other method": _other_method,
    "other head": _other_head,
    "other setting": _other_setting,
    "at the limit": _at_the_limit,
    "threshold": _thresholds,
    "more heads": _more_heads,
}
