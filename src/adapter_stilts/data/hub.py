"""The one place that talks to the Hub for data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.data.folders import Located
from adapter_stilts.errors import UserError
from adapter_stilts.hub import is_commit
from adapter_stilts.tasks.spec import HubData, HubSplit, Source, Split, TaskSpec

if TYPE_CHECKING:
    from adapter_stilts.hub.client import Repository
    from adapter_stilts.hub.guard import Guard

_ELSEWHERE = "use --data PATH for a folder of official files, or --data sample"


@dataclass(frozen=True)
class HubPart:
    """One source of a task on the Hub: one split of it."""

    source: Source
    hub: HubData
    split: Split

    @property
    def columns(self) -> Mapping[str, str]:
        """The task has the Hub's names for the columns."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What decides the rows: the data set, its revision, configurations and splits."""
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """Where the rows come from, for the record of a run."""
        return {
            "name": self.source.name,
            "hub": self.hub.id,
            "revision": self.hub.revision,
            "splits": [dict(split) for split in self.hub.splits[self.split]],
        }

    def rows(self) -> Iterator[Located]:
        """Every row of every split, downloaded where it is not here yet.

        Raises:
            UserError: the Hub cannot be reached, or has no such data.
            FailureError: the disk is full.
        """
        from adapter_stilts.hub.client import Repository
        from adapter_stilts.hub.guard import guard_downloads

        splits = self.hub.splits[self.split]
        # A user's own task that is on the Hub has no other data.
        remedy = _ELSEWHERE if self.source.files else ""
        repository = Repository(self.hub.id, "data set", self.hub.revision, remedy)
        with guard_downloads() as guard:
            trouble = _ask(repository, guard)
            loaded = [_load(repository, split, trouble) for split in splits]
        for split, rows in zip(splits, loaded, strict=True):
            where = f"{self.hub.id}, split {split['split']}"
            column, prefix = split.get("only", ("", ""))
            number = 0
            for table in rows.with_format("arrow").iter(1000):
                for row in table.to_pylist():
                    if not column or str(row.get(column)).startswith(prefix):
                        yield where, f"row {number}", row
                    number += 1


def hub_parts(task: TaskSpec, split: Split) -> list[HubPart]:
    """One split of every source of the task, to be read from the Hub.

    Raises:
        UserError: a source is not on the Hub.
    """
    parts = []
    for source in (each for each in task.sources if each.has(split)):
        if source.hub is None or split not in source.hub.splits:
            if source.obtain:
                raise UserError(f"{source.obtain}, or use --data sample")
            raise UserError(f"{source.name} is not on the Hub; {_ELSEWHERE}")
        parts.append(HubPart(source, source.hub, split))
    if not parts:
        raise UserError(f"{task.name} has no {split} data")
    return parts


def in_cache(hub: HubData, split: Split) -> bool:
    """Whether `datasets` has the split, at its revision, from an earlier time."""
    from huggingface_hub import constants

    home = os.environ.get("HF_DATASETS_CACHE") or f"{constants.HF_HOME}/datasets"
    folder = Path(home) / hub.id.replace("/", "___")
    commit = hub.revision if is_commit(hub.revision) else "*"
    return all(
        any(folder.glob(f"{each.get('config', '*')}/*/{commit}/dataset_info.json"))
        for each in hub.splits[split]
    )


def _ask(repository: Repository, guard: Guard) -> UserError | None:
    """One quick question to the Hub, as `datasets` would try for half a minute, and not quietly.

    Returns:
        What to tell the user should the cache not help, where the Hub does not answer.

    Raises:
        UserError: the Hub answers that it has no such data set or revision.
    """
    from adapter_stilts.hub.client import look, status_of

    try:
        commit, files = look(repository)
    except UserError as error:
        if status_of(error) is not None:
            raise
        return error
    for revision in {repository.revision, commit}:
        guard.expect(repository.id, revision, files, kind="datasets/")
    return None


def _load(repository: Repository, split: HubSplit, trouble: UserError | None) -> Any:
    """One split as a `datasets.Dataset` at the pinned revision."""
    import datasets

    from adapter_stilts.hub.client import call
    from adapter_stilts.hub.guard import close_hub

    name = split["split"]
    revision = repository.revision
    given: dict[str, Any] = {"split": name, "revision": revision}
    if "files" in split:
        given["data_files"] = {name: split["files"]}
    try:
        with close_hub() if trouble else nullcontext():
            loaded = call(
                repository,
                lambda: datasets.load_dataset(repository.id, split.get("config"), **given),
            )
    except UserError as error:
        raise trouble or error from error
    # Without the Hub, `datasets` takes the newest it has, of whatever revision; the folder of
    # what it converted is named after the commit.
    commits = {Path(file["filename"]).parent.name for file in loaded.cache_files}
    if trouble and is_commit(revision) and any(map(is_commit, commits - {revision})):
        raise UserError(f"{trouble} (the cache has it at another revision than this one needs)")
    return loaded
