"""The page of the zero-shot benchmark says which layer the figures of retrieval come from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.evaluation.summary import Evaluation

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def zero_shot(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, which no distribution carries."""
    if not FOLDER.is_dir():
        pytest.skip("no benchmarks here")
    monkeypatch.syspath_prepend(FOLDER)
    return __import__("zero_shot")


def found(task: str, metric: str, composition: str, **details: Any) -> Evaluation:
    entry = {"scores": {metric: 50.0}, "labelled": True, "details": details}
    languages = dict.fromkeys(("en", "de"), entry)
    return Evaluation(task, "test", composition, Path("p"), metric, languages, {})


def test_layer_and_pooling_of_retrieval(zero_shot: Any, tmp_path: Path) -> None:
    rows = {
        "tatoeba": [
            zero_shot.row_of(found("tatoeba", "accuracy", "none", layer=7, pooling="mean")),
            zero_shot.row_of(found("tatoeba", "accuracy", "mnli", layer=7, pooling="mean")),
        ],
        "xnli": [
            zero_shot.row_of(found("xnli", "accuracy", "xnli")),
            zero_shot.row_of(found("xnli", "accuracy", "stack(anli-plus, xnli)")),
        ],
        # a record of before the layer was kept
        "bucc2018": [
            {"composition": name, "scores": {"de": {"f1": 40.0}}} for name in ("none", "mnli")
        ],
    }
    for name, each in rows.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    args = argparse.Namespace(work=tmp_path, backbone="tiny", epochs=1.0, seed=0, full=False)
    page = zero_shot.page(args)
    assert "| composition | layer | pooling | en | de |\n|---|---|---|---|---|\n" in page
    assert "| `none` | 7 | mean | 50.0 | 50.0 |\n| `mnli` | 7 | mean | 50.0 | 50.0 |" in page
    assert "| composition | en | de |\n|---|---|---|\n| `xnli` | 50.0 | 50.0 |" in page
    assert "| `none` | not recorded | not recorded | 40.0 |" in page
