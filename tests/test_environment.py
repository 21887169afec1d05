"""Large blocks go back to the machine when they are freed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapter_stilts.engine import engine
from freed_blocks import BLOCK, BLOCKS
from made_modules import make_engine

VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks on its heap"
)


def in_a_new_process(expression: str, **variables: str) -> int:
    """What a new process finds for an expression of `freed_blocks`."""
    found = subprocess.run(
        [sys.executable, "-c", f"from freed_blocks import *; print({expression})"],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parent,
        env={name: value for name, value in os.environ.items() if name not in VARIABLES}
        | variables,
    )
    return int(found.stdout)


def test_freed_blocks_go_back() -> None:
    assert in_a_new_process("keep_holes()") > (BLOCKS - 1) * BLOCK
    assert in_a_new_process("return_large_blocks() or keep_holes()") < 2 * BLOCK


def test_who_has_chosen_an_allocator_keeps_it() -> None:
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432"}
    kept = in_a_new_process("return_large_blocks() or keep_holes()", **chosen)
    assert kept > (BLOCKS - 1) * BLOCK


@pytest.mark.parametrize(("width", "calls"), [(384, []), (1024, [True])])
def test_only_wide_trunks_give_large_blocks_back(
    width: int, calls: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(engine, "return_large_blocks", lambda: made.append(True))
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=width))
    engine.return_memory(SimpleNamespace(model=model))  # type: ignore[arg-type]
    assert made == calls


def test_an_engine_keeps_the_allocator(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "return_large_blocks", lambda: pytest.fail("it is slower"))
    make_engine(str(tiny_xlmr))


def test_small_blocks_go_back_when_it_is_asked() -> None:
    assert in_a_new_process("give_back_small_blocks()") > 70_000_000
