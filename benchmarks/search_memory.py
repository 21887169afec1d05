"""Time and memory of ranking a pool of a million candidates, as LAReQA and Mewsli-X need it.

The vectors are random, of XLM-R Large's width and in half precision, and lie in a file that is
mapped, as those that `evaluate` computes do. Only time and memory are looked at.

    python benchmarks/search_memory.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from adapter_stilts.environment import machine, peak_memory_mb
from adapter_stilts.evaluation.search import rank

K = 20
CHUNK = 10_000


def main() -> None:
    """Makes the pool, ranks it, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--width", type=int, default=1_024)
    parser.add_argument("--out", type=Path, default=Path("docs/results/search_memory.md"))
    args = parser.parse_args()
    random = np.random.default_rng(0)
    queries = random.standard_normal((args.queries, args.width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pool.npy")
        shape = (args.candidates, args.width)
        with file.open("wb") as out:  # not through a map, whose pages would count already
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            for start in range(0, args.candidates, CHUNK):
                rows = min(CHUNK, args.candidates - start)
                random.standard_normal((rows, args.width), np.float32).astype(np.float16).tofile(
                    out
                )
        before = peak_memory_mb()
        began = time.monotonic()
        pool = np.load(file, mmap_mode="r")
        rank(queries, pool, K)
        seconds = time.monotonic() - began
        mapped, peak = mapped_mb(), peak_memory_mb()
        del pool  # only now: its pages were to be counted
        size = file.stat().st_size / 1e6
    lines = [
        "# Ranking a large pool",
        "",
        f"The {K} best of {args.candidates:,} candidates for each of {args.queries:,} queries, "
        f"random vectors of {args.width:,} numbers. Machine: {machine()}. Made by "
        "`python benchmarks/search_memory.py`. Pages of files that are mapped count as memory; the "
        "system drops them when it needs room.",
        "",
        "| the pool's file MB | seconds | peak memory before MB | after MB | of it mapped MB |",
        "|---|---|---|---|---|",
        f"| {size:,.0f} | {seconds:,.0f} | {before:,.0f} | {peak:,.0f} | {mapped:,.0f} |",
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mapped_mb() -> float:
    """Memory that holds pages of mapped files, in MB; Linux tells it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (each for each in status.splitlines() if each.startswith("RssFile:"))
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
