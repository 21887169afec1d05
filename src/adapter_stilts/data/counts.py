"""How many rows files hold, counted without parsing where the format allows, and remembered."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from adapter_stilts.data.folders import FilePart
from adapter_stilts.hashing import json_digest
from adapter_stilts.paths import cache_dir, write_whole
from adapter_stilts.tasks.spec import FileFormat


def count_rows(part: FilePart) -> int:
    """The rows of a part; as long as its files keep their sizes and times, from memory.

    Raises:
        UserError: a file is malformed, where counting has to parse it.
        OSError: a file cannot be read.
    """
    stats = [path.stat() for path in part.files]
    signs = [
        [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        for path, stat in zip(part.files, stats, strict=True)
    ]
    layout = part.layout
    key = json_digest([layout.format, list(layout.header), list(layout.only), signs])
    memory = cache_dir() / "counts" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if isinstance(known, int) and not isinstance(known, bool):
            return known
    found = _count(part)
    # What changed this very moment could change again within the clock's resolution.
    if max(max(stat.st_mtime, stat.st_ctime) for stat in stats) < time.time() - 2:
        with contextlib.suppress(OSError):
            write_whole(memory, json.dumps(found, allow_nan=False))
    return found


def _count(part: FilePart) -> int:
    counter = _COUNTERS.get(part.layout.format)
    if counter is None or part.layout.only[0]:
        return sum(1 for _ in part.rows())
    header = part.layout.format == "tsv" and not part.layout.header
    return sum(max(0, _counted(path, counter) - header) for path in part.files)


def _counted(path: Path, counter: Callable[[Iterable[bytes]], int]) -> int:
    with path.open("rb") as file:
        return counter(file)


def _lines(lines: Iterable[bytes]) -> int:
    return sum(1 for line in lines if not line.isspace())


def _sentences(lines: Iterable[bytes]) -> int:
    """Groups of lines between blank ones; lines of comments alone are none."""
    groups = groupby(lines, key=bytes.isspace)
    return sum(
        any(not line.startswith(b"#") for line in group) for blank, group in groups if not blank
    )


def _words(lines: Iterable[bytes]) -> int:
    return sum(not blank for blank, _ in groupby(lines, key=bytes.isspace))


_COUNTERS: dict[FileFormat, Callable[[Iterable[bytes]], int]] = {
    "jsonl": _lines,
    "tsv": _lines,
    "lines": _lines,
    "conll": _words,
    "conllu": _sentences,
}
