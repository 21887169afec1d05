"""The templated checks: whole sentences, the same questions in every language, one right answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.data.squad_formats import ITEMS, check_rows
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.items import answer_counts
from adapter_stilts.metrics import get_metric
from adapter_stilts.tasks.registry import get_target

TARGET = get_target("qa-checks")
CHECKS = (
    "comparison", "opposite", "order", "negation", "affirmation", "agent", "object", "place",
    "time", "number", "property",
)  # fmt: skip


@pytest.mark.parametrize("language", TARGET.languages)
@pytest.mark.parametrize("where", ["hub", "sample"])
def test_every_language_has_the_same_questions(language: str, where: str) -> None:
    """Wherever other data is read from: the checks are the package's own."""
    examples = load_examples(TARGET.at(language), "test", where).examples
    assert examples["id"][:] == [f"{name}-{k:02}" for name in CHECKS for k in range(ITEMS)]
    for row in examples:
        assert not re.search(r"[{}]|  ", row["context"] + row["question"]), row
        assert row["context"][-1] in ".。" and row["question"][-1] in "?？"
        for answer, start in zip(row["answers"], row["answer_starts"], strict=True):
            assert row["context"].count(answer) == 1, row
            assert row["context"][start : start + len(answer)] == answer
    texts = {(row["context"], row["question"]) for row in examples}
    assert len(texts) == len(examples)


def test_what_is_asked_can_be_answered_by_hand() -> None:
    """The first of two is right as often as the second: a model that takes either fails half."""
    first = 0
    for row in load_examples(TARGET.at("en"), "test").examples:
        context, name = row["context"], row["id"].rpartition("-")[0]
        words = re.findall(r"[A-Z][a-z]+", context)
        if name == "comparison":
            assert row["answers"] == [context.split(" runs ")[0]]
        elif name == "opposite":
            assert row["answers"] == [context.split(" than ")[1].strip(".")]
        elif name == "negation":
            assert row["answers"] == [re.findall(r"(\w+) does not", context)[0]]
        elif name == "place":
            person = row["question"].split()[2]
            assert row["answers"][0] == re.findall(rf"{person} lives in (\w+)", context)[0]
        elif name == "time":
            assert row["answers"][0] == re.findall(r"school was built in (\d+)", context)[0]
        if name in ("comparison", "opposite", "order", "negation", "affirmation", "agent"):
            first += words[0] in row["answers"]
    assert first == 2 * ITEMS


def test_lists_are_as_long_in_all_languages() -> None:
    import yaml

    folder = Path(TARGET.sources[0].root)
    shapes = set()
    for path in folder.glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        lists = {name: len(each) for name, each in content["lists"].items()}
        shapes.add((tuple(lists.items()), tuple(content["checks"])))
    assert len(shapes) == 1
    assert {path.stem for path in folder.glob("*.yaml")} == set(TARGET.languages)


def test_they_are_scored_by_exact_match() -> None:
    texts, golds = ["the Rome", "in Rom"], [["Rome"], ["Rome", "in Rome"]]
    counts = answer_counts(texts, golds, metric="exact_match", language="en")
    assert counts == [(1.0, 1.0), (0.0, 1.0)]
    official = get_metric("exact_match").compute(
        predictions=[{"id": f"{k}", "prediction_text": text} for k, text in enumerate(texts)],
        references=[
            {"id": f"{k}", "answers": {"text": gold, "answer_start": [0] * len(gold)}}
            for k, gold in enumerate(golds)
        ],
    )
    assert official is not None and official["exact_match"] == 50.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lists: [", "not valid YAML"),
        ("lists: {}\nchecks: {a: {context: x, question: y}}", "answers"),
        ("lists: {}\nchecks: {a: {context: '{name1}', question: y, answers: [x]}}", "name1"),
        ("lists: {}\nchecks: {a: {context: 'b', question: y, answers: [x]}}", "no answer"),
        ("lists: {}\nchecks: {a: {context: '{', question: y, answers: [x]}}", "check 'a'"),
        ("- a", "own.yaml"),
    ],
)
def test_broken_templates_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    with pytest.raises(UserError, match=said) as caught:
        list(check_rows(path, enumerate(text.splitlines(keepends=True), 1)))
    assert "own.yaml" in str(caught.value) and "\n" not in str(caught.value)
