"""The one place that talks to the Hub for data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.data.folders import Located
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.safety import brief
from adapter_stilts.tasks.spec import HubData, HubSplit, Source, Split, TaskSpec

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo

    from adapter_stilts.hub.guard import Guard

_ELSEWHERE = "use --data PATH for a folder of official files, or --data sample"
_SECONDS = 10.0
_HTTP_LIBRARIES = {"requests", "urllib3", "httpx", "httpcore"}


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
        from adapter_stilts.hub.guard import guarded

        splits = self.hub.splits[self.split]
        with guarded() as guard:
            trouble = _ask(self.hub, guard)
            loaded = [_load(self.hub, split, trouble) for split in splits]
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
    commit = hub.revision if _is_commit(hub.revision) else "*"
    return all(
        any(folder.glob(f"{each.get('config', '*')}/*/{commit}/dataset_info.json"))
        for each in hub.splits[split]
    )


def _ask(hub: HubData, guard: Guard) -> UserError | None:
    """One quick question to the Hub, as `datasets` would try for half a minute, and not quietly.

    Returns:
        What to tell the user should the cache not help, where the Hub does not answer.

    Raises:
        UserError: the Hub answers that it has no such data set or revision.
    """
    from huggingface_hub import HfApi, errors

    from adapter_stilts.hub.guard import HubAnswerError
    from adapter_stilts.hub.retry import repeated

    try:
        info = repeated(
            hub.id,
            lambda: HfApi().dataset_info(
                hub.id, revision=hub.revision, files_metadata=True, timeout=_SECONDS
            ),
        )
        _expect(hub, info, guard)
    except (errors.HfHubHTTPError, HubAnswerError) as error:
        raise _explain(hub, error) from error
    except Exception as error:
        trouble = _explain(hub, error)
        if isinstance(trouble, UserError):
            return trouble
        raise trouble from error
    return None


def _expect(hub: HubData, info: DatasetInfo, guard: Guard) -> None:
    """Holds the Hub to its list of the data set's files.

    Raises:
        HubAnswerError: a file's name leads out of a folder.
    """
    from adapter_stilts.hub.guard import HubAnswerError, Promise

    promises = {}
    for each in info.siblings or ():
        name = str(each.rfilename)
        if name.startswith("/") or "\0" in name or {"..", "."} & set(re.split(r"[/\\]", name)):
            raise HubAnswerError(f"the Hub's answer is refused: '{brief(name)}' is no file's name")
        if isinstance(each.size, int):
            sha256 = str(each.lfs.sha256 if each.lfs else "")
            promises[name] = Promise(each.size, sha256, str(each.blob_id or ""))
    for revision in {hub.revision, str(info.sha)}:
        guard.expect(hub.id, revision, promises, kind="datasets/")


@contextmanager
def _offline(switched_off: bool) -> Iterator[None]:
    """Lets `datasets` look only at what it has."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or switched_off
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _load(hub: HubData, split: HubSplit, trouble: UserError | None) -> Any:
    """One split as a `datasets.Dataset` at the pinned revision."""
    import datasets

    name = split["split"]
    given: dict[str, Any] = {"split": name, "revision": hub.revision}
    if "files" in split:
        given["data_files"] = {name: split["files"]}
    from adapter_stilts.hub.retry import repeated

    try:
        with _offline(trouble is not None):
            loaded = repeated(
                hub.id, lambda: datasets.load_dataset(hub.id, split.get("config"), **given)
            )
    except Exception as error:
        raise trouble or _explain(hub, error) from error
    # Without the Hub, `datasets` takes the newest it has, of whatever revision; the folder of
    # what it converted is named after the commit.
    commits = {Path(file["filename"]).parent.name for file in loaded.cache_files}
    if trouble and _is_commit(hub.revision) and any(map(_is_commit, commits - {hub.revision})):
        raise UserError(f"{trouble} (the cache has it at another revision than this one needs)")
    return loaded


def _is_commit(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", name) is not None


def _explain(hub: HubData, error: Exception) -> UserError | FailureError:
    """The libraries' many exceptions as one line that names a way out."""
    from huggingface_hub import constants, errors

    from adapter_stilts.hub.retry import causes, status_of, wrong_answer

    chain = list(causes(error))
    status = status_of(error)
    said = " ".join(str(error).split())[:200]
    if "is a gated dataset" in said or any(
        isinstance(each, errors.GatedRepoError) for each in chain
    ):
        page = f"{constants.ENDPOINT}/datasets/{hub.id}"
        what = f"'{hub.id}' is gated: ask for access at {page} and log in with 'hf auth login'"
    elif any(isinstance(each, errors.RevisionNotFoundError) for each in chain):
        what = f"the Hub has '{hub.id}', but not its revision {hub.revision}"
    elif any(isinstance(each, errors.RepositoryNotFoundError) for each in chain):
        what = f"the Hub has no data set '{hub.id}', or it needs 'hf auth login'"
    elif constants.HF_HUB_OFFLINE:
        what = f"'{hub.id}' is not in the cache, and HF_HUB_OFFLINE switches the Hub off"
    elif any(_is_full(each) for each in chain):
        return FailureError(f"no space left on the disk to download '{hub.id}': free some")
    elif (wrong := wrong_answer(error)) is not None:
        return FailureError(f"'{hub.id}': {wrong}; {_ELSEWHERE}")
    elif status is not None and (status >= 500 or isinstance(error, errors.HfHubHTTPError)):
        verb = "failed for" if status >= 500 else "refused"
        what = f"the Hub {verb} '{hub.id}' (status {status})"
    elif network := [each for each in chain if _is_network(each)]:
        kind = type(network[0]).__name__
        what = f"the Hugging Face Hub cannot be reached for '{hub.id}' ({kind})"
    else:
        what = f"cannot load '{hub.id}' from the Hub ({type(error).__name__}: {said})"
    return UserError(f"{what}; {_ELSEWHERE}")


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and (
        error.errno == 28 or str(error).startswith("Not enough disk space")
    )


def _is_network(error: BaseException) -> bool:
    """Whether the line failed; HTTP libraries have their own names for that."""
    module = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or module in _HTTP_LIBRARIES
