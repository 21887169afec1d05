"""What `adstilts tasks` shows of a task's data: whether it is there, and where. No network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from adapter_stilts.data.cache import examples_folder
from adapter_stilts.data.folders import FilePart
from adapter_stilts.data.hub import HubPart, in_cache
from adapter_stilts.data.load import examples_key, find_all, read_from_of, resolve_where
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec

SPLITS: tuple[Split, Split] = ("train", "dev")
EVALUATED: tuple[Split, Split] = ("test", "dev")


@dataclass(frozen=True)
class DataStatus:
    """Whether both splits can be read without the network, and one line on where they are."""

    found: bool
    origin: str
    detail: str


def data_status(task: TaskSpec, where: str | None = None) -> DataStatus:
    """Whether the task's data is here; `where` as in `load_examples`. Nothing is downloaded."""
    origin = resolve_where(where)
    try:
        parts = {split: find_all(task, split, origin) for split in SPLITS}
    except UserError as error:
        return DataStatus(False, origin, str(error))
    if origin == "hub":
        return _hub_status(task, {split: cast(list[HubPart], parts[split]) for split in SPLITS})
    files = {split: cast(list[FilePart], parts[split]) for split in SPLITS}
    if origin == "sample":
        try:
            counts = (f"{_count(files[split])} {split}" for split in SPLITS)
            return DataStatus(True, origin, f"bundled samples: {', '.join(counts)}")
        except UserError as error:
            return DataStatus(False, origin, str(error))
    return DataStatus(True, origin, "; ".join(_folder(files, i) for i in range(len(task.sources))))


def target_status(target: TargetSpec, where: str | None = None) -> DataStatus:
    """In how many languages a target task's data is here, by split; as `data_status`."""
    origin = resolve_where(where)
    counts = {
        split: sum(_is_here(target.at(language), split, origin) for language in target.languages)
        for split in EVALUATED
        if any(source.has(split) for source in target.sources)
    }
    total = len(target.languages)
    detail = ", ".join(f"{split} in {count} of {total}" for split, count in counts.items())
    return DataStatus(any(counts.values()), origin, f"{detail} languages")


def _is_here(task: TaskSpec, split: Split, origin: str) -> bool:
    try:
        parts = find_all(task, split, origin)
    except UserError:
        return False
    return origin != "hub" or all(in_cache(part.hub, split) for part in cast(list[HubPart], parts))


def _count(parts: Sequence[FilePart]) -> int:
    return sum(1 for part in parts for _ in part.rows())


def _folder(parts: dict[Split, list[FilePart]], index: int) -> str:
    """One source's folder and its files, or their number where they are many."""
    files = [path for split in SPLITS for path in parts[split][index].files]
    names = ", ".join(path.name for path in files) if len(files) <= 6 else f"{len(files)} files"
    return f"{files[0].parent}: {names}"


def _hub_status(task: TaskSpec, parts: dict[Split, list[HubPart]]) -> DataStatus:
    ids = ", ".join(part.hub.id for part in parts["train"])
    keys = (examples_key(task, read_from_of(task, each, parts[each])) for each in parts)
    if all((examples_folder(key) / "examples.json").is_file() for key in keys):
        return DataStatus(True, "hub", f"{ids}, converted in the cache")
    if all(in_cache(part.hub, split) for split in SPLITS for part in parts[split]):
        return DataStatus(True, "hub", f"{ids}, downloaded")
    return DataStatus(False, "hub", f"{ids}, not downloaded yet")
