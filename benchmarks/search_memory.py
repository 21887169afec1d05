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

from adapter_stilts.evaluation.search import rank
from adapter_stilts.training.environment import machine, peak_memory_mb

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
        pool = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, args.candidates, CHUNK):
            rows = random.standard_normal((CHUNK, args.width), dtype=np.float32)
            pool[start : start + CHUNK] = rows[: args.candidates - start]
        del pool
        before = peak_memory_mb()
        began = time.monotonic()
        rank(queries, np.load(file, mmap_mode="r"), K)
        seconds = time.monotonic() - began
        size = file.stat().st_size / 1e6
    lines = [
        "# Ranking a large pool",
        "",
        f"The {K} best of {args.candidates:,} candidates for each of {args.queries:,} queries, "
        f"random vectors of {args.width:,} numbers. Machine: {machine()}. Made by "
        "`python benchmarks/search_memory.py`. Pages of the mapped file count as memory here; the "
        "system may drop them.",
        "",
        "| the pool's file MB | seconds | peak memory before MB | and after MB |",
        "|---|---|---|---|",
        f"| {size:,.0f} | {seconds:,.0f} | {before:,.0f} | {peak_memory_mb():,.0f} |",
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
