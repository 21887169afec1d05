"""Folders of modules, spoilt field by field, tensor by tensor, byte by byte."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from adapter_stilts.hashing import file_sha256
from adapter_stilts.zoo.record import RECORD
from fuzz_values import ANY, FIELDS, NOT_JSON, OF_FIELD, RAW
from fuzz_whole import WHOLE


class Spoiler:
    """Changes a module's folder by chance; what it did is told."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance = folder, chance

    def spoil(self) -> str:
        """One change."""
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        of = {
            end: [path for path in files if path.suffix == end] for end in (".json", ".safetensors")
        }
        kind = self._chance.choices(("json", "weights", "bytes", "whole"), (10, 5, 1, 4))[0]
        if kind == "whole":
            return self._whole()
        chosen = {"json": of[".json"], "weights": of[".safetensors"], "bytes": files}[kind] or files
        path = self._chance.choice(chosen)
        if kind == "json" and (self._folder / RECORD) in files and self._chance.random() < 0.5:
            path = self._folder / RECORD
        done = getattr(self, f"_{kind}")(path)
        return f"{path.relative_to(self._folder)}: {done}"

    def _json(self, path: Path) -> str:
        try:
            value = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            return "no JSON any more"
        places = list(members_of(value))
        likely = [place for place in places if place[1] in OF_FIELD]
        if not places:
            return "empty"
        parent, key = self._chance.choice(
            likely if likely and self._chance.random() < 0.6 else places
        )
        how = self._chance.choices(
            ("set", "drop", "rename", "raw", "more", "text", "swap"), (12, 3, 1, 2, 1, 2, 2)
        )[0]
        done = getattr(self, f"_{how}")(parent, key)
        text = json.dumps(value)
        if how == "raw":
            text = text.replace(f'"{NOT_JSON}"', done)
        path.write_text(text, "utf-8")
        return f"{how} {str(key)[:40]!r} {done[:60]!r}"

    def _set(self, parent: Any, key: Any) -> str:
        own = OF_FIELD.get(key, ())
        value = self._chance.choice(own if own and self._chance.random() < 0.7 else ANY)
        parent[key] = json.loads(json.dumps(value))
        return repr(value)[:80]

    def _drop(self, parent: Any, key: Any) -> str:
        del parent[key]
        return ""

    def _rename(self, parent: Any, key: Any) -> str:
        if isinstance(parent, dict):
            parent[f"{key} 2"] = parent.pop(key)
        else:
            parent.append(parent[key])
        return "twice or otherwise"

    def _raw(self, parent: Any, key: Any) -> str:
        parent[key] = NOT_JSON
        return self._chance.choice(RAW)

    def _more(self, parent: Any, key: Any) -> str:
        if not isinstance(parent, dict):
            return self._rename(parent, key)
        name = self._chance.choice((*OF_FIELD, *FIELDS))
        return f"{name} {self._set(parent, name)}"

    def _text(self, parent: Any, key: Any) -> str:
        """What a text, a number or a list can be made of."""
        value = parent[key]
        if isinstance(value, str):
            parent[key] = value + self._chance.choice(
                ("\n", "\r\n# x", "<b>", "\u2028x", "|", " ", "/..")
            )
        elif isinstance(value, bool):
            parent[key] = not value
        elif isinstance(value, int | float):
            parent[key] = value * self._chance.choice((-1, 0, 0.5, 2, 1e6, 1e300))
        elif isinstance(value, list):
            parent[key] = value[::-1] if value[1:] else [value]
        return repr(parent[key])[-60:]

    def _swap(self, parent: Any, key: Any) -> str:
        """Two values of one object change places; two labels have one number."""
        other = self._chance.choice(
            list(parent) if isinstance(parent, dict) else range(len(parent))
        )
        parent[key], parent[other] = parent[other], parent[self._chance.choice((key, other))]
        return f"with {other!r}"[:60]

    def _weights(self, path: Path) -> str:
        try:
            tensors = load_file(path)
        except Exception:
            return "no weights any more"
        if not tensors:
            return "empty"
        key = self._chance.choice(sorted(tensors))
        name, change = self._chance.choice(sorted(_TENSORS.items()))
        every = self._chance.random() < 0.3
        with suppress(RuntimeError, IndexError, TypeError):
            for each in sorted(tensors) if every else [key]:
                change(tensors, each)
        save_file({k: x.contiguous().clone() for k, x in tensors.items()}, path)
        return f"{name} {'all' if every else key}"

    def _whole(self) -> str:
        """What somebody changes who makes all files agree with each other."""
        name, change = self._chance.choice(sorted(WHOLE.items()))
        no_use = (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError)
        with suppress(*no_use, RecursionError):  # an earlier change may have nested too deep
            return f"{name}: {change(self._folder, self._chance)}"
        return f"{name}: cannot be done"

    def _bytes(self, path: Path) -> str:
        content = bytearray(path.read_bytes())
        how = self._chance.choice(("cut", "flip", "empty", "gone", "folder", "swap"))
        if how == "cut":
            content = content[: self._chance.randrange(len(content) + 1)]
        elif how == "flip" and content:
            content[self._chance.randrange(min(len(content), 3000))] ^= self._chance.randrange(
                1, 256
            )
        elif how == "empty":
            content = bytearray()
        elif how == "swap":
            files = sorted(each for each in self._folder.rglob("*") if each.is_file())
            content = bytearray(self._chance.choice(files).read_bytes())
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how != "gone":
            path.write_bytes(content)
        return how


def _filled(value: float) -> Callable[[dict[str, torch.Tensor], str], None]:
    def fill(tensors: dict[str, torch.Tensor], key: str) -> None:
        tensors[key] = tensors[key].clone()
        tensors[key].view(-1)[-1] = value

    return fill


def _made(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[dict[str, torch.Tensor], str], None]:
    def make(tensors: dict[str, torch.Tensor], key: str) -> None:
        tensors[key] = change(tensors[key])

    return make


_TENSORS: Mapping[str, Callable[[dict[str, torch.Tensor], str], object]] = {
    **{f"has {value}": _filled(value) for value in (float("nan"), float("inf"), 1e38, 1e12, -1e12)},
    **{
        f"times {by:g}": _made(partial(torch.mul, torch.tensor(by)))
        for by in (0.0, 1e6, 1e11, 1e30, -1.0)
    },
    **{
        f"as {kind}": _made(methodcaller("to", kind))
        for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool)
    },
    "turned": _made(lambda x: x.T),
    "shorter": _made(lambda x: x[:-1]),
    "longer": _made(lambda x: torch.cat([x, x[:1]])),
    "deeper": _made(lambda x: x[None]),
    "a number": _made(lambda x: x.reshape(-1)[0]),
    "flat": _made(lambda x: x.reshape(-1)),
    "nothing": _made(lambda x: x[:0]),
    "gone": lambda tensors, key: tensors.pop(key),
    "again": lambda tensors, key: tensors.update({f"{key}.more": tensors[key].clone()}),
    "elsewhere": lambda tensors, key: tensors.update({key.replace("0", "9"): tensors.pop(key)}),
    "of the trunk": lambda tensors, key: tensors.update(
        {"roberta.encoder.layer.0.attention.self.query.weight": tensors.pop(key)}
    ),
}


def members_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of every object and list."""
    members: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        members = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, inner in members:
        yield value, key
        yield from members_of(inner)


def rehash(folder: Path) -> None:
    """Makes the record agree with its files again, so that more than hashes is looked at."""
    if not (folder / RECORD).is_file():
        return  # it may be a link to a device that never ends
    with suppress(ValueError, RecursionError, OSError, TypeError, AttributeError, KeyError):
        record = json.loads((folder / RECORD).read_text("utf-8"))
        for name in record["files"]:
            if (folder / name).is_file():
                record["files"][name] = file_sha256(folder / name)
        (folder / RECORD).write_text(json.dumps(record), "utf-8")
