"""A client with large requests does not hold up those with small ones: the load test, in small."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.serving.pool import ModulePool
from serving_kit import running

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serve_load.py"
SMALL = {"module": "squad", "question": "Who?", "context": "Ann went to Rome."}


@pytest.fixture
def load() -> Any:
    """The benchmark, which no distribution carries."""
    if not SCRIPT.is_file():
        pytest.skip("no benchmarks here")
    spec = importlib.util.spec_from_file_location("serve_load", SCRIPT)
    assert spec and spec.loader
    module = sys.modules["serve_load"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_small_requests_beside_a_large_one(load: Any, pool: ModulePool) -> None:
    small = [load.message("/predict", SMALL)]
    large = load.message("/predict", {**SMALL, "context": SMALL["context"] * 1200})
    with running(pool, max_tokens=1 << 20, max_windows=1 << 20) as port:
        alone = load.Phase()

        async def one() -> None:
            await load.client(port, [large], load.time.monotonic() + 0.01, alone.large, alone)

        asyncio.run(one())
        assert len(alone.large) == 1
        together = asyncio.run(load.run_phase(port, small, large, clients=9, seconds=4))
    assert together.refused == 0
    assert len(together.small) > 20
    assert load.percentile(together.small, 0.9) < alone.large[0] / 2
