"""The notebook is one, and its cells run in their order; on a tiny backbone, in few steps."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def cells() -> list[tuple[str, str]]:
    """Kind and text of every cell."""
    found = json.loads(NOTEBOOK.read_text("utf-8"))
    return [(each["cell_type"], "".join(each["source"])) for each in found["cells"]]


def run_cell(code: str, names: dict[str, Any]) -> Any:
    """Runs a cell as a notebook does, and returns the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, str(NOTEBOOK), "exec"), names)
        return None
    del tree.body[-1]
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)


def test_it_is_a_notebook_without_outputs() -> None:
    found = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    ids = [each["id"] for each in found["cells"]]
    assert len(set(ids)) == len(ids) and found["metadata"]["kernelspec"]["name"] == "python3"
    for each in found["cells"]:
        if each["cell_type"] == "code":
            assert each["outputs"] == [] and each["execution_count"] is None


def test_every_cell_runs(
    zoo: Path, tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    names: dict[str, Any] = {"__name__": "notebook"}
    shown: list[Any] = []
    for kind, text in cells():
        if kind == "code":
            text = text.replace('"embedded"', repr(str(tiny_xlmr)))
            text = text.replace('"epochs": 4, "evaluations": 4', '"steps": 2, "evaluations": 1')
            shown.append(run_cell(text, names))
    trained, evaluations, frame, bars, forest = (shown[place] for place in (1, 3, 4, 5, 6))
    assert "squad" in trained._repr_html_() and "tydiqa" in evaluations._repr_html_()
    assert set(frame.columns) == {"tydiqa", "tydiqa-on-squad"} and len(frame) == 3
    assert "<svg" in bars._repr_svg_() and "<svg" in forest._repr_svg_()
    assert "answer" in shown[7]
