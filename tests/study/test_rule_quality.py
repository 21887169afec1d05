"""The quality of rules on a study's runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.study.recommendation import Ranked, Recommendation
from adapter_stilts.study.results import RunResult, Stage
from adapter_stilts.study.rule_quality import matrix_of, rate_rules, sizes_of


def _run(stage: Stage, arm: str, *intermediate: str, **more: Any) -> RunResult:
    fields = {"method": "bottleneck", **more}
    return RunResult(run=arm, study="s", stage=stage, arm=arm, intermediate=intermediate, **fields)


def _on(source: str, target: str, *values: float, **more: Any) -> RunResult:
    metric = "f1" if target == "tydiqa" else "accuracy"
    cells = {
        language: {metric: value, "exact_match": 1.0}
        for language, value in zip(("en", "ko"), values, strict=True)
    }
    return _run("target", source, source, scores={target: cells}, **more)


RUNS = [
    _run("intermediate", "squad", train_rows=900),
    _run("intermediate", "mnli-s1", train_rows=3000),
    _run("intermediate", "ccg", train_rows=5000),
    _on("squad", "tydiqa", 70, 50),
    _on("squad-s1", "tydiqa", 80, 60),
    _on("mnli", "tydiqa", 40, 20),
    _on("ccg", "tydiqa", 30, 10),
    _on("squad", "xnli", 50, 50),
    _on("mnli-s1", "xnli", 90, 70),
    _on("ccg", "xnli", 40, 40),
    _on("squad", "xnli", 99, 99, unequal=True),
    _on("squad", "xnli", 99, 99, method="lora"),
    _run("target", "fusion", "squad", "mnli", scores={"xnli": {"en": {"accuracy": 99.0}}}),
    _run("rate", "squad", "squad"),
    _on("squad", "xcopa", 50, 50),  # one source is no choice
]


def test_the_matrix_of_runs() -> None:
    matrix = matrix_of(RUNS)
    assert matrix == {
        "tydiqa": {"squad": 65.0, "mnli": 30.0, "ccg": 20.0},
        "xnli": {"squad": 50.0, "mnli": 80.0, "ccg": 40.0},
    }
    assert sizes_of(RUNS) == {"squad": 900, "mnli": 3000, "ccg": 5000}


def test_rules_against_what_they_have_to_beat() -> None:
    matrix = matrix_of(RUNS)
    rankings = {
        "logme": {"tydiqa": ["squad", "mnli", "ccg"], "xnli": ["mnli", "qqp"]},
        "text": {"tydiqa": ["ccg", "squad", "mnli"], "xnli": ["squad", "ccg", "mnli"]},
    }
    found = rate_rules(matrix, rankings, sizes_of(RUNS))
    assert list(found) == ["logme", "text", "size", "always squad", "always mnli", "by lot"]
    assert found["logme"].regret_at_1 == 0
    assert found["text"].regret_at_1 == pytest.approx(100 * (45 / 65 + 30 / 80) / 2)
    assert found["size"].regret_at_1 == pytest.approx(100 * (45 / 65 + 40 / 80) / 2)
    assert found["always squad"].regret_at_1 == pytest.approx(100 * (0 + 30 / 80) / 2)
    assert found["always mnli"].regret_at_1 == pytest.approx(100 * (35 / 65 + 0) / 2)
    lots = [(0 + 35 + 45) / 65 / 3, (30 + 0 + 40) / 80 / 3]
    assert found["by lot"].regret_at_1 == pytest.approx(100 * sum(lots) / 2)
    assert all(each.regret_at_3 == 0 and each.targets == 2 for each in found.values())
    assert found["logme"].ndcg_at_3 > found["by lot"].ndcg_at_3 > found["text"].ndcg_at_3
    one = rate_rules(matrix, {"logme": {"tydiqa": ["squad"]}}, sizes_of(RUNS))
    assert {each.targets for each in one.values()} == {1}
    assert rate_rules(matrix, {"logme": {}}, {}) == {}


def test_the_page_comes_of_records_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("no benchmarks here")
    monkeypatch.syspath_prepend(folder)
    benchmark = __import__("recommend")
    assert "Nothing is measured" in benchmark.page(benchmark.read(tmp_path / "none"))
    names = ("squad", "mnli", "ccg")
    for target, row in matrix_of(RUNS).items():
        ranked = tuple(
            Ranked(name, name, "bottleneck", {"logme": -place}, place, 0.9, 1, 1, 2.0)
            for place, name in enumerate(names)
        )
        found = Recommendation(target, "tiny", 300, 20, ranked, None, {}, {"logme": 6.0})
        with (tmp_path / "records").open("a") as file:
            file.write(json.dumps(benchmark.made(found, row, sizes_of(RUNS))) + "\n")
    page = benchmark.page(benchmark.read(tmp_path / "records"))
    assert "2 targets on backbone tiny; 6 seconds a target" in page and "are few" in page
    lost = f"{100 * 30 / 80 / 2:.1f}"
    for rule in ("logme", "mean rank", "always squad"):
        assert f"| {rule} | {lost} | 0.0 |" in page
    assert "| xnli | mnli 80.0 | squad 50.0 | 90 % | 37.5 |" in page
