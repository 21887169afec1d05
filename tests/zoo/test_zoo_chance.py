"""Modules that answer no better than a guess say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.provenance import at_chance, chance_note, majority
from adapter_stilts.zoo.record import MULTITASK, ModuleRecord
from made_modules import make_engine, make_module, make_record


@pytest.fixture(scope="module")
def record(tiny_xlmr: Path) -> ModuleRecord:
    engine = make_engine(str(tiny_xlmr))
    make_module(engine, "hellaswag", "bottleneck", "choice")
    return make_record(engine, "hellaswag", "bottleneck", "choice")


def scored(record: ModuleRecord, score: float, guess: Any, examples: int = 400) -> ModuleRecord:
    dev = {**record.data["dev"], "examples": examples, "chance": guess}
    return dataclasses.replace(
        record, scores={"accuracy": score}, data={**record.data, "dev": dev}, heads={}
    )


@pytest.mark.parametrize(
    ("score", "guess", "examples", "found"),
    [
        (23.3, {"accuracy": 25.0}, 400, True),
        (29.2, {"accuracy": 25.0}, 400, True),  # 25 and twice 2.17
        (29.5, {"accuracy": 25.0}, 400, False),
        (29.2, {"accuracy": 25.0}, 4000, False),
        (43.7, {"accuracy": 35.0}, 1000, False),
        (0.0, {"f1": 50.0}, 400, False),  # of another metric
        (20.0, {}, 400, False),
    ],
)
def test_within_two_standard_errors(
    record: ModuleRecord, score: float, guess: Any, examples: int, found: bool
) -> None:
    assert bool(at_chance(scored(record, score, guess, examples))) is found


def test_the_most_frequent_answer() -> None:
    assert majority(["a", "b", "b", "c"]) == 50.0


def test_each_of_several_tasks(record: ModuleRecord) -> None:
    head = {
        "head": "choice",
        "labels": [],
        "max_length": 64,
        "scores": {"accuracy": 25.0},
        "no_answer_threshold": None,
        "parameters": 3,
        "train": {},
        "dev": {"examples": 100, "chance": {"accuracy": 25.0}},
    }
    good = {**head, "scores": {"accuracy": 80.0}}
    several = dataclasses.replace(
        record, head=MULTITASK, task=MULTITASK, heads={"hellaswag": head, "cosmos-qa": good}
    )
    assert at_chance(several) == ["hellaswag"]
    assert chance_note(several) == " (1/2 chance)"


def test_the_card_says_so_and_shows_how_the_score_rose(
    record: ModuleRecord, tmp_path: Path
) -> None:
    curve = [{"step": 100.0, "accuracy": 22.0}, {"step": 200.0, "accuracy": 23.3}]
    guessing = dataclasses.replace(scored(record, 23.3, {"accuracy": 25.0}), learning_curve=curve)
    write_card(guessing, tmp_path, peft=False)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "No better than a guess" in card
    assert "On dev: 22.0 at step 100, 23.3 at step 200." in card
    write_card(scored(record, 60.0, {"accuracy": 25.0}), tmp_path, peft=False)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "guess" not in card and "On dev" not in card
