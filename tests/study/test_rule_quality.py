"""The quality of rules on a study's runs."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from adapter_stilts.study.graph import RunResult, Stage
from adapter_stilts.study.recommendation import Ranked, Recommendation
from study_kit import benchmark

RULES = benchmark("rule_quality")
read_rows = benchmark("steps").read_rows
matrix_of, rate_rules, sizes_of = RULES.matrix_of, RULES.rate_rules, RULES.sizes_of


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


def test_the_page_comes_of_records_alone(tmp_path: Path) -> None:
    made = benchmark("recommend")
    assert "Nothing is measured" in made.page(read_rows(tmp_path / "none"))
    names = ("squad", "mnli", "ccg")
    for target, row in matrix_of(RUNS).items():
        ranked = tuple(
            Ranked(name, name, "bottleneck", {"logme": -place}, place, 0.9, 1, 1, 2.0)
            for place, name in enumerate(names)
        )
        found = Recommendation(target, "tiny", 300, 20, ranked, None, {}, {"logme": 6.0})
        with (tmp_path / "records").open("a") as file:
            file.write(json.dumps(made.made(found, row, sizes_of(RUNS))) + "\n")
    page = made.page(read_rows(tmp_path / "records"))
    assert "2 targets on backbone tiny; 6 seconds a target" in page and "are few" in page
    lost = f"{100 * 30 / 80 / 2:.1f}"
    for rule in ("logme", "mean rank", "always squad"):
        assert f"| {rule} | {lost} | 0.0 |" in page
    assert "| xnli | mnli 80.0 | squad 50.0 | 90 % | 37.5 |" in page


MATRIX = {
    "xnli": {"mnli": 70.0, "squad": 60.0, "ccg": 50.0, "qqp": 55.0},
    "tydiqa": {"mnli": 40.0, "squad": 65.0, "ccg": 20.0, "qqp": 30.0},
}


def test_quality_against_lots() -> None:
    best = {target: sorted(row, key=lambda n: -row[n]) for target, row in MATRIX.items()}
    found = RULES.quality(MATRIX, best)
    assert (found.regret_at_1, found.regret_at_3) == (0, 0)
    assert found.ndcg_at_3 == pytest.approx(100)
    every = [
        RULES.quality(MATRIX, {"xnli": order, "tydiqa": order})
        for order in permutations(["mnli", "squad", "ccg", "qqp"])
    ]
    chance = RULES.quality_of_chance(MATRIX)
    for name in ("regret_at_1", "regret_at_3", "ndcg_at_3"):
        mean = fmean(getattr(each, name) for each in every)
        assert getattr(chance, name) == pytest.approx(mean)
    sizes = {"mnli": 3, "squad": 2, "ccg": 9, "qqp": 5}
    order = RULES.always("squad", list(sizes), sizes)
    assert order == ["squad", "ccg", "qqp", "mnli"]
    found = RULES.quality(MATRIX, dict.fromkeys(MATRIX, order))
    assert found.regret_at_1 == pytest.approx(100 * 10 / 70 / 2)
    assert RULES.always("gone", list(sizes), sizes)[0] == "ccg"


def test_ndcg_by_hand() -> None:
    scores = {"a": 100.0, "b": 50.0, "c": 0.0}
    half = 2**0.5 - 1
    found = half / 1 + 1 / np.log2(3)
    assert RULES.ndcg_at(scores, ["b", "a", "c"], 2) == pytest.approx(
        100 * found / (1 + half / np.log2(3))
    )
    with pytest.raises(ValueError, match="ranking"):
        RULES.ndcg_at(scores, ["a"], 1)


def test_regret_of_a_ranking_is_a_share_of_the_best() -> None:
    scores = {"a": 50.0, "b": 80.0, "c": 76.0}
    assert RULES.regret_at(scores, ["a", "c", "b"], 1) == pytest.approx(37.5)
    assert RULES.regret_at(scores, ["a", "c", "b"], 2) == pytest.approx(5)
    assert RULES.regret_at(scores, ["a", "c", "b"], 3) == 0
    with pytest.raises(ValueError, match="d"):
        RULES.regret_at(scores, ["d"], 1)
