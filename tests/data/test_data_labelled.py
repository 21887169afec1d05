"""Sets with labels, without, and with some."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import has_labels
from adapter_stilts.tasks.registry import get_target
from evaluation_kit import TARGETS

NLI, COPA, POS, QA = TARGETS
LABEL = {"tiny-nli": "label", "tiny-copa": "label", "tiny-pos": "tags", "tiny-qa": "answers"}


def rows(name: str, count: int) -> list[dict[str, Any]]:
    if name == "tiny-copa":
        options = {f"choice{number}": "x" for number in range(4)}
        return [{"premise": "a", **options, "label": 1} for _ in range(count)]
    return [{"words": ["a", "b"], "tags": ["N", "NP"]} for _ in range(count)]


@pytest.mark.parametrize("target", [COPA, POS], ids=lambda target: target.name)
def test_all_none_or_some(write: Callable[..., Path], target: Any) -> None:
    task = target.at("en")

    def labelled(*lacking: int) -> bool:
        given = rows(target.name, 5)
        for number in lacking:
            del given[number][LABEL[target.name]]
        path = write(f"{target.name}/test-en.jsonl", "\n".join(map(json.dumps, given)))
        where = str(path.parent)
        return has_labels(task, "test", where, load_examples(task, "test", where))

    assert labelled()
    assert not labelled(0, 1, 2, 3, 4)
    for lacking in ((0,), (4,), (2, 3), (1, 2, 3, 4)):
        with pytest.raises(UserError, match=rf"test-en\.jsonl, line {lacking[0] + 1}: has no"):
            labelled(*lacking)


def test_of_questions_the_id_is_named(write: Callable[..., Path]) -> None:
    def asked(name: str, *answers: str) -> dict[str, Any]:
        given = [{"text": text, "answer_start": "it rains".index(text)} for text in answers]
        return {"id": name, "question": "what?", "answers": given}

    paragraph = {"context": "it rains", "qas": [asked("a", "rains"), asked("b")]}
    content = json.dumps({"data": [{"paragraphs": [paragraph]}]})
    where = str(write("tiny-qa/test-en.json", content).parent)
    data = load_examples(QA.at("en"), "test", where)
    with pytest.raises(UserError, match=r"test-en\.json, question 'b': has no label"):
        has_labels(QA.at("en"), "test", where, data)


def test_of_a_limited_set_what_was_drawn_counts(write: Callable[..., Path]) -> None:
    given = rows("tiny-pos", 6)
    del given[5]["tags"]
    write("tiny-pos/test-en.jsonl", "\n".join(map(json.dumps, given)))
    task, found = POS.at("en"), set()
    where = str(write("tiny-pos/x", "").parent)
    for seed in range(8):
        data = load_examples(task, "test", where, limit=1, seed=seed)
        found.add(has_labels(task, "test", where, data))
    assert found == {True, False}


def test_samples_of_the_targets_have_labels() -> None:
    task = get_target("xnli").at("en")
    assert has_labels(task, "test", "sample", load_examples(task, "test", "sample"))
