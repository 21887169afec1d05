"""Time and memory of ranking a pool of a million candidates, as LAReQA and Mewsli-X need it.

The vectors are random, of XLM-R Large's width and in half precision, and lie in a file that is
mapped, as those that `evaluate` computes do. Only time and memory are looked at.

    python benchmarks/search_memory.py
    python benchmarks/search_memory.py --page     # the page alone, of the records
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from steps import add_row, commit, read_rows

from adapter_stilts.environment import machine, peak_memory_mb
from adapter_stilts.inference.search import rank

RECORDS = Path("docs/results/records/search_memory.jsonl")
K = 20
CHUNK = 10_000


def main() -> None:
    """Makes the pool, ranks it, and writes the page of the last record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--width", type=int, default=1_024)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/search_memory.md"))
    parser.add_argument("--page", action="store_true", help="the page alone")
    args = parser.parse_args()
    if not args.page:
        add_row(args.records, measure(args.candidates, args.queries, args.width))
    args.out.write_text(page(read_rows(args.records)[-1]), encoding="utf-8")


def measure(candidates: int, queries: int, width: int) -> dict[str, Any]:
    """Seconds of a ranking, and memory before and after it, in MB."""
    random = np.random.default_rng(0)
    asked = random.standard_normal((queries, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pool.npy")
        with file.open("wb") as out:  # not through a map, whose pages would count already
            header = {"descr": "<f2", "fortran_order": False, "shape": (candidates, width)}
            np.lib.format.write_array_header_1_0(out, header)
            for start in range(0, candidates, CHUNK):
                rows = min(CHUNK, candidates - start)
                part = random.standard_normal((rows, width), np.float32)
                part.astype(np.float16).tofile(out)
        before = peak_memory_mb()
        began = time.monotonic()
        pool = np.load(file, mmap_mode="r")
        rank(asked, pool, K)
        seconds = time.monotonic() - began
        mapped, peak = mapped_mb(), peak_memory_mb()
        del pool  # only now: its pages were to be counted
        size = file.stat().st_size / 1e6
    return {
        "candidates": candidates,
        "queries": queries,
        "width": width,
        "file_mb": size,
        "seconds": seconds,
        "before_mb": before,
        "peak_mb": peak,
        "mapped_mb": mapped,
        "machine": machine(),
        "commit": commit(),
    }


def page(row: dict[str, Any]) -> str:
    """One line of a table."""
    cells = (row[key] for key in ("file_mb", "seconds", "before_mb", "peak_mb", "mapped_mb"))
    return f"""# Ranking a large pool

The {K} best of {row["candidates"]:,} candidates for each of {row["queries"]:,} queries, random
vectors of {row["width"]:,} numbers. Machine: {row["machine"]}; commit {row["commit"]}. Made by
`python benchmarks/search_memory.py` of [the record](records/search_memory.jsonl). Pages of files
that are mapped count as memory; the system drops them when it needs room.

| the pool's file MB | seconds | peak memory before MB | after MB | of it mapped MB |
|---|---|---|---|---|
| {" | ".join(f"{cell:,.0f}" for cell in cells)} |
"""


def mapped_mb() -> float:
    """Memory that holds pages of mapped files, in MB; Linux tells it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (each for each in status.splitlines() if each.startswith("RssFile:"))
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
