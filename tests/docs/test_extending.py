"""The code of the page on extending the program does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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


def test_metric() -> None:
    predictions, references = [0, 1, 2, 2, 1, 0, 0], [0, 1, 2, 1, 1, 0, 2]
    found = run(BLOCKS[1])["METRIC"]().compute(predictions=predictions, references=references)
    sklearn = pytest.importorskip("sklearn.metrics")
    expected = 100 * sklearn.cohen_kappa_score(predictions, references)
    assert found["kappa"] == pytest.approx(expected)


def test_merge_method() -> None:
    run(BLOCKS[2])


def test_no_block_is_left_out() -> None:
    assert len(BLOCKS) == 3
