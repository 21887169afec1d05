"""The code of the page on extending the program does what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adapter_stilts import heads, metrics
from adapter_stilts.heads.base import Outputs
from adapter_stilts.metrics._evaluate import metric_class

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def run(code: str) -> dict[str, Any]:
    """Runs a block, and returns what it defines."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_task(zoo: Path, tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    names = run(BLOCKS[0].replace('"embedded"', repr(str(tiny_xlmr))))
    record = names["trained"].record
    assert (record.task, record.data["train"]["examples"]) == ("moods", 16)
    assert set(names["load"](names["trained"].path).classify("bad")) == {"good", "bad"}


def test_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_BUILT_IN", {})
    run(BLOCKS[1])
    (spec,) = metrics._BUILT_IN.values()
    predictions, references = [0, 1, 2, 2, 1, 0, 0], [0, 1, 2, 1, 1, 0, 2]
    found = metric_class(spec)().compute(predictions=predictions, references=references)
    sklearn = pytest.importorskip("sklearn.metrics")
    expected = 100 * sklearn.cohen_kappa_score(predictions, references)
    assert found["kappa"] == pytest.approx(expected)


def test_merge_method() -> None:
    run(BLOCKS[2])


def test_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file of its own that the page says it is: found by its name, and pure."""
    module = ModuleType("adapter_stilts.heads.stars")
    module.HEAD = run(BLOCKS[3])["HEAD"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(heads, "KINDS", (*heads.KINDS, "stars"))
    heads.get_head.cache_clear()
    head = heads.get_head("stars")
    outputs = [np.array([value]) for value in (-3.0, 2.4, 2.6, 9.0)]
    values, scores = head.decode(Outputs(outputs, {}, []))
    assert (values, scores) == ([1.0, 2.0, 3.0, 5.0], None)
    assert head.line({"score": 3.0}) == "***" and head.metrics == ("correlation",)
    assert heads.kind_of({"head_type": head.library, "num_labels": 1}) == "regression"
    heads.get_head.cache_clear()


def test_no_block_is_left_out() -> None:
    assert len(BLOCKS) == 4
