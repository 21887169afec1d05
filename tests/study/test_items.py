"""Scores of single items: they add up to the score, and stay with their predictions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import read_data
from adapter_stilts.evaluation.files import items_path
from adapter_stilts.evaluation.items import (
    SCHEMA,
    answer_counts,
    chunk_counts,
    ensure_items,
    has_items,
    pair_counts,
)
from adapter_stilts.evaluation.run import Evaluation, evaluate
from adapter_stilts.metrics import get_metric
from adapter_stilts.study.items import Seeds, make_sample
from adapter_stilts.tasks.registry import get_target
from evaluation_kit import LANGUAGES, ROWS, write_data
from retrieval_kit import write_lareqa

MODULES = {"tiny-qa": "qa", "tiny-nli": "nli", "tiny-copa": "copa", "tiny-pos": "pos"}


def run(task: str, **options: Any) -> Evaluation:
    """One evaluation on the small data."""
    (found,) = evaluate(
        task, compositions=[MODULES[task]], data="data", precision="fp32", **options
    )
    return found


@pytest.mark.parametrize("task", MODULES)
def test_items_add_up_to_the_official_score(tiny: Path, task: str) -> None:
    found = run(task)
    for language in LANGUAGES:
        table = pq.read_table(items_path(found.folder / found.languages[language]["file"]))
        assert table.schema.equals(SCHEMA)
        assert len(table) == ROWS == len(set(table.column("id").to_pylist()))
        top, bottom = (table.column(name).to_numpy() for name in SCHEMA.names[2:4])
        score = 100 * top.sum() / bottom.sum() if bottom.sum() else 0.0
        assert score == pytest.approx(found.scores[language][found.metric])


@pytest.mark.parametrize("seed", range(6))
def test_chunks_of_sentences_are_those_of_all_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    tags = ["O", "B-PER", "I-PER", "I-ORG", "NOUN", "SCONJ", "X", "VERB"]
    sizes = random.integers(1, 12, size=40)
    predicted, gold = (
        [[str(tag) for tag in random.choice(tags, size=size)] for size in sizes] for _ in range(2)
    )
    found = np.array(chunk_counts(predicted, gold))
    official = get_metric("seqeval_f1").compute(predictions=predicted, references=gold)
    assert 100 * found[:, 0].sum() / found[:, 1].sum() == pytest.approx(official["f1"])


def test_answers_are_scored_as_their_metric_does() -> None:
    texts, golds = ["das Haus", "der kleine Hund"], [["Haus"], ["Hund", "kleiner Hund"]]
    for metric, options in (("squad", {}), ("mlqa", {"language": "de"})):
        counts = answer_counts(texts, golds, metric=metric, language="de")
        official = get_metric(metric).compute(
            predictions=[{"id": f"{k}", "prediction_text": text} for k, text in enumerate(texts)],
            references=[
                {"id": f"{k}", "answers": {"text": gold, "answer_start": [0] * len(gold)}}
                for k, gold in enumerate(golds)
            ],
            **options,
        )
        assert 50 * sum(top for top, _ in counts) == pytest.approx(official["f1"])


def test_mined_pairs_count_at_their_source() -> None:
    found = [("a", "1"), ("b", "9"), ("b", "2")]
    gold = [("a", "1"), ("b", "2"), ("c", "3")]
    assert pair_counts(found, gold, ["a", "b", "c", "d"]) == [(2, 2), (2, 3), (0, 1), (0, 0)]
    official = get_metric("bitext_f1").compute(predictions=found, references=gold)
    assert official["f1"] == pytest.approx(100 * 4 / 6)


def test_items_are_made_again_of_what_is_there(tiny: Path) -> None:
    found = run("tiny-qa", langs="ko")
    path = items_path(found.folder / found.languages["ko"]["file"])
    before = pq.read_table(path)
    again = _ensure(found, "ko")
    assert again.equals(before)
    for content in (None, b"PAR1 and no more"):
        path.unlink()
        if content:
            path.write_bytes(content)
        assert _ensure(found, "ko").equals(before)
        assert pq.read_table(path).equals(before)


def _ensure(found: Evaluation, language: str) -> Any:
    target = get_target(found.task)
    read = read_data(target, [language], "test", "data", limit=None)
    entry, data = found.languages[language], read.languages[language]
    return ensure_items(found.folder, entry, target, "test", language, data, "data")


def test_an_item_knows_how_long_it_is(tiny: Path) -> None:
    for task in MODULES:
        target = get_target(task)
        read = read_data(target, ["ko"], "test", "data", limit=None)
        table = _ensure(run(task, langs="ko"), "ko")
        for row, example in zip(
            table.to_pylist(), read.languages["ko"].examples.examples, strict=True
        ):
            if task == "tiny-pos":
                assert row["length"] == len(example["words"])
            elif task == "tiny-copa":
                assert row["length"] == len("".join([example["prompt"], *example["options"]]))
            elif task == "tiny-nli":
                assert row["length"] == len(example["text_a"]) + len(example["text_b"])
            else:
                assert row["length"] == len(example["question"]) + len(example["context"])
            answers = example.get("answers", [])
            assert row["answer_length"] == min(map(len, answers), default=None)


def test_the_checks_are_evaluated_as_any_target_is(tiny: Path) -> None:
    (found,) = evaluate("qa-checks", compositions=["qa"], langs="en,zh", precision="fp32")
    assert found.metric == "exact_match"
    for language in ("en", "zh"):
        table = pq.read_table(items_path(found.folder / found.languages[language]["file"]))
        assert len(table) == found.languages[language]["examples"] == 11 * 16
        assert set(table["numerator"].to_pylist()) <= {0.0, 1.0}
        mean = 100 * np.mean(table["numerator"].to_numpy())
        assert mean == pytest.approx(found.scores[language]["exact_match"])


def test_files_without_lengths_are_read_and_made_anew(tiny: Path) -> None:
    found = run("tiny-qa", langs="ko")
    path = items_path(found.folder / found.languages["ko"]["file"])
    whole = pq.read_table(path)
    pq.write_table(whole.select(SCHEMA.names[:4]), path)
    assert _ensure(found, "ko").equals(whole)


def test_predictions_of_other_data_are_refused(tiny: Path) -> None:
    found = run("tiny-nli", langs="ko")
    path = found.folder / found.languages["ko"]["file"]
    items_path(path).unlink()
    path.write_text("entailment\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"test-ko\.tsv"):
        _ensure(found, "ko")


def test_data_without_labels_have_no_items(tiny: Path) -> None:
    write_data(tiny / "data", "ko", labels=False)
    found = run("tiny-qa", langs="ko")
    assert not items_path(found.folder / found.languages["ko"]["file"]).exists()


def test_metrics_that_are_no_sum_over_items_have_none(tiny: Path) -> None:
    target = get_target("tiny-nli")
    assert has_items(target, {"labelled": True})
    assert not has_items(dataclasses.replace(target, metric="f1"), {"labelled": True})
    assert has_items(get_target("lareqa"), {"labelled": True})


@pytest.mark.parametrize("limit", [None, 5])
def test_the_precision_of_every_query_is_an_item(tiny: Path, limit: int | None) -> None:
    """The candidates of all languages are searched, and the relevant ones are of all, too."""
    made = [[(f"so {n}", f"which {n}") for n in range(k, k + 3)] for k in range(0, 9, 3)]
    for language in ("en", "de", "ko"):
        write_lareqa(tiny / "data", language, made)
    options: dict[str, Any] = {"langs": "en,de", "layer": 2, "limit": limit, "precision": "fp32"}
    (found,) = evaluate("lareqa", compositions=["nli"], data="data", **options)
    for language in ("en", "de"):
        table = pq.read_table(items_path(found.folder / found.languages[language]["file"]))
        assert len(table) == len(set(table["id"].to_pylist())) == (limit or 9)
        assert set(table["denominator"].to_pylist()) == {1.0}
        mean = 100 * np.mean(table["numerator"].to_numpy())
        assert 0 < mean == pytest.approx(found.scores[language]["map_at_20"])


def test_questions_of_an_article_are_one_cluster(tiny: Path) -> None:
    for language in ("en", "de"):
        path = tiny / "data" / "tiny-qa" / f"test-{language}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        first, second, *rest = content["data"][0]["paragraphs"]
        # In German the two have one title; in English none of the paragraphs has any.
        titled = [{"title": "Linz", "paragraphs": [first, second]}] if language == "de" else []
        own = [{"paragraphs": rest if titled else [first, second, *rest]}]
        path.write_text(json.dumps({"data": titled + own}), encoding="utf-8")
    found = run("tiny-qa", langs="en,de")
    tables = {lang: {Seeds(0, 0): _ensure(found, lang)} for lang in ("en", "de")}
    assert tables["de"][Seeds(0, 0)].column("cluster").to_pylist()[:2] == ["title: Linz"] * 2
    apart = make_sample({"a": tables}, parallel=False)
    assert apart.drawn == {"en": ROWS, "de": ROWS - 1}
    together = make_sample({"a": tables}, parallel=True)
    assert set(together.drawn.values()) == {ROWS - 1}
    assert list(together.clusters["en"]) == list(together.clusters["de"])
