"""Examples kept as Arrow: written once, memory-mapped afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from filelock import FileLock

from adapter_stilts.errors import FailureError
from adapter_stilts.hashing import file_sha256, json_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Example
from adapter_stilts.paths import atomic_folder, cache_dir, write_whole
from adapter_stilts.tasks.spec import HeadKind

if TYPE_CHECKING:
    import datasets

_BATCH = 1000


def file_digests(files: Iterable[Path]) -> list[str]:
    """The SHA-256 of every file; remembered as long as sizes and times of change stay.

    The time of a file's content can be set, that of its change as a whole cannot: both count. A
    file that cannot be read is an `OSError`.
    """
    files = list(files)
    found: list[str] = remembered(
        "digests",
        files,
        lambda known: isinstance(known, list) and len(known) == len(files),
        lambda: [file_sha256(path) for path in files],
    )
    return found


def remembered(
    what: str,
    files: Sequence[Path],
    fits: Callable[[Any], bool],
    find: Callable[[], Any],
    *more: Any,
) -> Any:
    """What was found out of files; from memory as long as their sizes and times of change stay.

    It is kept in the cache's folder `what`, where it is taken from if it `fits`; else `find` finds
    it out. It is decided by the files and by `more`. A file that cannot be read is an `OSError`.
    """
    stats = [path.stat() for path in files]
    signs = [
        [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        for path, stat in zip(files, stats, strict=True)
    ]
    memory = cache_dir() / what / f"{json_digest([*more, signs] if more else signs)}.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if fits(known):
            return known
    found = find()
    # A file changed this very moment could change again within the clock's resolution.
    latest = max((max(stat.st_mtime, stat.st_ctime) for stat in stats), default=0.0)
    if latest < time.time() - 2:
        with contextlib.suppress(OSError):  # only costs time, the next time
            write_whole(memory, json.dumps(found, allow_nan=False))
    return found


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


Parts = list[dict[str, Any]]
"""What was counted of each part of a set of examples."""


@dataclass(frozen=True)
class Written:
    """Examples in the cache: the folder, a hash of their content, and the counts of each part."""

    folder: Path
    content: str
    parts: Parts


def ensure_examples(
    key: str, head: HeadKind, make: Callable[[Parts], Iterable[Example]]
) -> Written:
    """Makes the cache hold the examples of that key, where it does not already; all or nothing.

    Args:
        key: stands for what the examples are read from and for the code that makes them.
        make: yields the examples and appends the counts of each part, which are kept beside them.

    Raises:
        FailureError: the disk is full or the cache cannot be written.
    """
    folder = examples_folder(key)
    found = _usable(folder)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # the other processes of a training wait
            found = _usable(folder)
            if found is None:
                parts: Parts = []
                found = _write(folder, head, make(parts), parts)
    except OSError as error:
        raise FailureError(
            f"cannot write the cache '{cache_dir()}' ({error.strerror or error}): free some space "
            "or set ADSTILTS_CACHE to another folder"
        ) from error
    return found


def examples_folder(key: str) -> Path:
    """Where examples lie in the cache."""
    return cache_dir() / "examples" / key


def _write(folder: Path, head: HeadKind, examples: Iterable[Example], parts: Parts) -> Written:
    """Writes the examples batch by batch, then what `parts`, filled meanwhile, says of them."""
    content = hashlib.sha256(head.encode())
    with atomic_folder(folder) as work:
        path = work / "examples.arrow"
        schema = get_head(head).schema()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in _batches(examples):
                for example in batch:
                    content.update(_canonical(example, schema.names))
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        about = {"content": content.hexdigest(), "parts": parts, "sha256": file_sha256(path)}
        (work / "examples.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")
    return Written(folder, content.hexdigest(), parts)


def _canonical(example: Mapping[str, Any], columns: Sequence[str]) -> bytes:
    """The bytes of an example: the same wherever and by whatever they were written as Arrow."""
    values = [example.get(column) for column in columns]
    written = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return written.encode("utf-8", "surrogatepass") + b"\n"


def _usable(folder: Path) -> Written | None:
    """What lies there, or None where it is nothing usable."""
    try:
        about = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        if about["sha256"] == file_sha256(folder / "examples.arrow"):
            return Written(folder, str(about["content"]), list(about["parts"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def map_examples(folder: Path, fingerprint: str) -> datasets.Dataset:
    """The examples of that folder, memory-mapped."""
    import datasets
    from datasets.table import MemoryMappedTable

    table = MemoryMappedTable.from_file(str(folder / "examples.arrow"))
    return datasets.Dataset(table, fingerprint=fingerprint)
