"""`adstilts merge`, and merges where other commands take compositions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts.zoo.find import find_module
from cli_kit import Result, assert_one_line

MADE = ("qa-all", "pos")


def test_merge_then_evaluate_and_predict(run: Callable[..., Result], tiny: Path) -> None:
    weights = ("--how", "linear", "--weights", "3,1", "--head", "qa-all", "--name", "mix")
    code, out, err = run("merge", *MADE, *weights, "--out", "mix")
    assert code == 0, err
    assert "mix = linear(1*pos, 3*qa-all): span head" in out
    assert "module: mix" in out
    evaluated = run("evaluate", "tiny-qa", "--data", "data", "--with", "./mix", "--langs", "en,de")
    assert evaluated[0] == 0, evaluated[2]
    code, out, _ = run("predict", "--with", "mix", "--question", "Who?", "--context", "Ada.")
    assert code == 0


def test_a_source_and_its_head_go_by_one_name(run: Callable[..., Result], tiny: Path) -> None:
    """The full name, which chooses among backbones, is the head's as well."""
    backbone = find_module("qa-all").parent.name
    sources = [f"{backbone}/{name}" for name in MADE]
    code, out, err = run("merge", *sources, "--head", sources[0], "--name", "full")
    assert code == 0, err
    assert "span head" in out


def test_json(run: Callable[..., Result], tiny: Path) -> None:
    code, out, err = run("merge", *MADE, "--how", "ties", "--out", "mix", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["merged"]["expression"] == "ties(pos, qa-all)"
    assert found["merged"]["density"] == 0.5
    assert found["head"] == "none"


def test_a_merge_has_no_head(run: Callable[..., Result], tiny: Path) -> None:
    merged = "average(qa-all, pos)"
    result = run("evaluate", "tiny-qa", "--data", "data", "--with", merged)
    assert_one_line(result, 2, "'average(pos, qa-all)' has no head", "needs a span one")
    for given in (("--question", "Who?", "--context", "Ada."), ("--text", "Ada.")):
        result = run("predict", "--with", merged, *given)
        assert_one_line(result, 2, "'average(pos, qa-all)' has no head", "--head MODULE")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*MADE, "--weights", "0.3;0.7"), ("weights '0.3;0.7'", "such as 0.3,0.7")),
        ((*MADE, "--how", "linear", "--weights", "1"), ("1 weights for 2 modules",)),
        ((*MADE, "--weights", "1,2"), ("average has no weights: linear is",)),
        ((*MADE, "--how", "linear", "--weights", "1,-1"), ("linear: weights that add up to 0",)),
        ((*MADE, "copa", "--how", "slerp"), ("slerp merges 2 modules, not 3",)),
        ((*MADE, "qa-all"), ("'qa-all' is in it twice",)),
        (("qa-all", "poz"), ("no module 'poz': did you mean 'pos'?",)),
        (("qa-all", "squad"), ("cannot be merged: only 'qa-all' has",)),
        (("qa-all", "qa-lora"), ("of two kinds",)),
        ((*MADE, "--search"), ("a search needs a target",)),
        ((*MADE, "--search", "--target", "tydiq"), ("did you mean 'tydiqa'?",)),
    ],
)
def test_mistakes(
    run: Callable[..., Result], tiny: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(run("merge", *arguments), 2, *words)


def test_the_place_of_a_mistake_is_marked(run: Callable[..., Result], tiny: Path) -> None:
    result = run("evaluate", "tiny-qa", "--data", "data", "--with", "linear(x*qa-all, pos)")
    assert_one_line(result, 2, "character 8: a number was expected before '*', not 'x'")
    assert result[2].splitlines()[-1] == " " * 9 + "^"
