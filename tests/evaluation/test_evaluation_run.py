"""Target tasks evaluated from end to end on a tiny backbone."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import evaluation_kit
from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation import job as jobs
from adapter_stilts.evaluation import labels
from adapter_stilts.evaluation.run import Evaluation, evaluate
from adapter_stilts.heads.base import Example
from adapter_stilts.metrics import get_metric
from adapter_stilts.tasks import registry
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Row
from adapter_stilts.zoo.resolve import load
from evaluation_kit import LANGUAGES, ROWS, write_data
from process_kit import in_a_process

TASKS = {"tiny-nli": "nli", "tiny-copa": "copa", "tiny-pos": "pos", "tiny-qa": "qa"}
"""Each task's folder in the output, which is also a module for it."""


def run(task: str, *compositions: str, **options: Any) -> list[Evaluation]:
    return evaluate(
        task, compositions=compositions, **{"data": "data", "precision": "fp32", **options}
    )


def written(evaluation: Evaluation, language: str) -> str:
    entry = evaluation.languages[language]
    return (evaluation.folder / str(entry["file"])).read_text("utf-8")


def read_predictions(task: str, text: str) -> Any:
    """A prediction file read as XTREME's and XTREME-R's `evaluate.py` read it."""
    lines = [line.strip() for line in text.splitlines()]
    if task == "tiny-qa":
        return json.loads(text)
    if task == "tiny-copa":
        return [json.loads(line)["label"] for line in lines]
    if task == "tiny-nli":
        return lines
    sentences: list[list[str]] = []
    sentence: list[str] = []
    for line in lines:
        if line:
            sentence.append(line)
        else:
            sentences.append(sentence)
            sentence = []
    return [*sentences, sentence] if sentence else sentences


def official(task: str, language: str, predictions: Any) -> dict[str, float]:
    """The scores of predictions that were read back from a file."""
    target = get_target(task)
    rows = load_examples(target.at(language), "test", "data").examples
    if task == "tiny-qa":
        found = [{"id": name, "prediction_text": text} for name, text in predictions.items()]
        gold: list[Any] = [
            {
                "id": row["id"],
                "answers": {"text": row["answers"], "answer_start": row["answer_starts"]},
            }
            for row in rows
        ]
        return get_metric("squad").compute(predictions=found, references=gold)
    if task == "tiny-pos":
        return get_metric("seqeval_f1").compute(predictions=predictions, references=rows["tags"])
    named = [target.labels.index(each) for each in predictions] if target.labels else predictions
    return get_metric("accuracy").compute(predictions=named, references=rows["label"])


@pytest.mark.parametrize("task", TASKS)
def test_files_read_as_xtreme_does_give_the_scores_reported(tiny: Path, task: str) -> None:
    (found,) = run(task, TASKS[task])
    assert list(found.languages) == list(LANGUAGES)
    assert not found.partial
    ending = {"tiny-qa": "json", "tiny-copa": "jsonl"}.get(task, "tsv")
    for language in LANGUAGES:
        entry = found.languages[language]
        assert entry["file"] == f"{TASKS[task]}/test-{language}.{ending}"
        assert entry["examples"] == ROWS
        assert entry["labelled"]
        predictions = read_predictions(task, written(found, language))
        assert len(predictions) == ROWS
        assert dict(found.scores[language]) == official(task, language, predictions)
    first = found.metric
    values = {language: found.scores[language][first] for language in LANGUAGES}
    assert found.average[first] == fmean(values.values())
    assert found.english[first] == values["en"]
    assert found.without_english[first] == fmean(values[each] for each in LANGUAGES[1:])
    assert found.gap[first] == values["en"] - found.without_english[first]


@pytest.mark.parametrize("task", TASKS)
def test_chunks_and_batches_change_nothing(tiny: Path, task: str) -> None:
    """Pieces of languages, shared chunks: the predictions are those of each example alone."""
    (whole,) = run(task, TASKS[task], out="whole")
    (cut,) = run(task, TASKS[task], out="cut", batch_tokens=64)
    module = load(TASKS[task], precision="fp32")
    for language in LANGUAGES:
        assert written(whole, language) == written(cut, language)
        rows = load_examples(get_target(task).at(language), "test", "data").examples
        alone = [module.predict([row]).values[0] for row in rows]
        predictions = read_predictions(task, written(whole, language))
        if task == "tiny-qa":
            texts = [
                r["context"][a.spans[0].begin : a.spans[0].end]
                for r, a in zip(rows, alone, strict=True)
            ]
            assert list(predictions.values()) == [text.strip() for text in texts]
        elif task == "tiny-nli":
            assert predictions == [module.labels[value] for value in alone]
        else:
            assert predictions == alone


def test_the_folder_says_what_is_in_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = run("tiny-qa", "qa-on-squad", langs="ko,en", split="dev")
    backbone = Path(load("qa").record.backbone["name"]).name
    assert found.folder == Path.cwd() / "predictions" / backbone / "qa-on-squad"
    (given,) = run("tiny-qa", "qa-on-squad", langs="en", split="dev", out="elsewhere")
    assert given.folder == Path.cwd() / "elsewhere"
    monkeypatch.chdir("/")  # what is named stays where it is
    record = json.loads((found.folder / "evaluation.json").read_text())
    assert record["composition"]["expression"] == "qa-on-squad"
    assert record["backbone"]["fingerprint"] == load("qa").record.backbone["fingerprint"]
    entries = record["results"]["tiny-qa"]["dev"]
    assert list(entries) == ["ko", "en"]
    assert entries["ko"]["file"] == "qa/dev-ko.json"
    (session,) = record["sessions"]
    assert {"torch", "adapters", "adapter-stilts"} <= set(session["versions"])
    assert [entry["session"] for entry in entries.values()] == [0, 0]
    assert {path.suffix for path in found.folder.rglob("*") if path.is_file()} == {
        ".json",
        ".lock",
        ".parquet",
    }


def test_a_second_call_computes_nothing_and_loads_nothing(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = run("tiny-nli", "nli", langs="en,ko")
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.*")}

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the backbone was loaded")

    monkeypatch.setattr(jobs, "load_engine", refuse)
    (second,) = run("tiny-nli", "nli", langs="en,ko")
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.*")} == before


def computed(task: str, *compositions: str, **options: Any) -> list[str]:
    """The languages that a call computes."""
    done: list[str] = []
    run(task, *compositions, on_language=lambda _, lang, __: done.append(lang), **options)
    return done


def test_only_what_has_changed_is_computed_again(tiny: Path) -> None:
    out = {"out": "out"}
    assert computed("tiny-nli", "nli", langs="en,ko", **out) == ["en", "ko"]
    assert computed("tiny-nli", "nli", **out) == ["de", "sw"]
    file = tiny / "out" / "nli" / "test-de.tsv"
    file.write_text(file.read_text() + "entailment\n")
    assert computed("tiny-nli", "nli", **out) == ["de"]
    (tiny / "out" / "nli" / "test-sw.tsv").unlink()
    write_data(tiny / "data", "en", rows=ROWS + 1)
    assert computed("tiny-nli", "nli", **out) == ["en", "sw"]
    assert computed("tiny-nli", "nli", langs="en", precision="bf16", **out) == ["en"]
    assert computed("tiny-nli", "nli", split="dev", langs="ko", **out) == ["ko"]
    assert computed("tiny-pos", "pos", langs="ko", out="other") == ["ko"]
    assert computed("tiny-nli", "nli", langs="ko,de", overwrite=True, **out) == ["ko", "de"]


def test_a_module_of_other_tags_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is data of other tags, unless they are named."""
    target = dataclasses.replace(get_target("tiny-pos"), tags=("O", "B-PER"))
    tasks = {**registry.target_tasks(), target.name: target}
    monkeypatch.setattr(registry, "target_tasks", lambda: tasks)
    with pytest.raises(UserError, match=r"'pos' has tags that are not tiny-pos's, such as N, "):
        run("tiny-pos", "pos")
    for language in LANGUAGES:
        row = json.dumps({"words": ["a", "b"], "tags": ["O", "B-PER"]})
        (tiny / "data" / "tiny-pos" / f"test-{language}.jsonl").write_text(row + "\n")
    with pytest.raises(UserError, match=r"test-en\.jsonl, line 1: 'O' is no tag of tiny-pos"):
        run("tiny-pos", "pos", tags=evaluation_kit.TAGS)
    assert not list(tiny.glob("predictions/**/test-*"))
    tags = [*evaluation_kit.TAGS, "O", "B-PER"]
    (found,) = run("tiny-pos", "pos", tags=tags, langs="en")
    assert found.scores["en"]


def test_what_edited_code_decides_is_computed_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = run("tiny-nli", "nli", langs="en")
    assert computed("tiny-nli", "nli") == ["de", "ko", "sw"]
    target = get_target("tiny-nli")

    def swapped(row: Row) -> Example:
        found = target.to_example(row)
        assert found is not None
        return {**found, "text_a": row["hypothesis"], "text_b": row["premise"]}

    def neutral(row: Row) -> Example:
        found = target.to_example(row)
        assert found is not None
        return {**found, "label": target.labels.index("neutral")}

    for edited in (swapped, neutral):
        task = dataclasses.replace(target, to_example=edited)
        tasks = {**registry.target_tasks(), task.name: task}
        monkeypatch.setattr(registry, "target_tasks", lambda tasks=tasks: tasks)
        assert computed("tiny-nli", "nli") == list(LANGUAGES)
    (after,) = run("tiny-nli", "nli")
    said = written(before, "en").split()
    assert after.scores["en"]["accuracy"] == 100 * said.count("neutral") / len(said)
    monkeypatch.setattr(jobs, "_CODE", "edited code")
    assert computed("tiny-nli", "nli") == list(LANGUAGES)


def test_another_tokenizer_predicts_again(tiny: Path, tiny_xlmr: Path) -> None:
    moved = tiny / "moved"
    shutil.copytree(tiny_xlmr, moved)
    assert computed("tiny-nli", "nli", langs="en") == ["en"]
    assert computed("tiny-nli", "nli", langs="en", backbone=str(moved)) == []
    file = moved / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(content))
    assert computed("tiny-nli", "nli", langs="en", backbone=str(moved)) == ["en"]


def test_a_limited_run_lies_apart(tiny: Path) -> None:
    (whole,) = run("tiny-nli", "nli", langs="en")
    (part,) = run("tiny-nli", "nli", langs="en", limit=4)
    assert part.folder == whole.folder.with_name(f"{whole.folder.name}-limit-4")
    assert part.languages["en"]["examples"] == 4
    assert len(written(part, "en").splitlines()) == 4
    assert len(written(whole, "en").splitlines()) == ROWS


@pytest.mark.parametrize(
    ("task", "compositions"),
    [
        ("tiny-qa", ("qa", "qa-on-squad", "squad", "qa-lora", "stack(squad, qa-all)")),
        ("tiny-nli", ("nli", "nli-lora")),
        ("tiny-copa", ("copa-lora", "copa")),
        ("tiny-pos", ("pos", "pos-lora")),
    ],
)
def test_compositions_together_are_equal_to_each_alone(
    tiny: Path, task: str, compositions: tuple[str, ...]
) -> None:
    together = run(task, *compositions, out="together", batch_tokens=512)
    assert len({each.folder for each in together}) == len(compositions)
    texts = set()
    for text, evaluation in zip(compositions, together, strict=True):
        (alone,) = run(task, text, out=f"alone/{text}", batch_tokens=512)
        assert alone.composition == evaluation.composition
        assert alone.scores == evaluation.scores
        for language in LANGUAGES:
            assert written(alone, language) == written(evaluation, language)
        texts.add(written(evaluation, "en"))
    # Of a few labels, modules of random weights may well all choose the same.
    assert len(texts) > 1 or task in ("tiny-nli", "tiny-copa")


def test_compositions_that_are_done_in_part_are_continued(tiny: Path) -> None:
    run("tiny-qa", "qa", langs="en,ko", out="out/qa")
    done: list[tuple[str, str]] = []
    found = run(
        "tiny-qa",
        "qa",
        "squad",
        out="out",
        on_language=lambda expression, language, _: done.append((expression, language)),
    )
    assert sorted(done) == sorted(
        [
            (name, lang)
            for name in ("qa", "squad")
            for lang in LANGUAGES
            if name == "squad" or lang in ("de", "sw")
        ]
    )
    (alone,) = run("tiny-qa", "squad", out="alone")
    assert alone.scores == found[1].scores
    assert len(run("tiny-qa", "qa", " qa ", out="out/qa")) == 1  # given twice, evaluated once


def test_windows_as_each_composition_was_trained(tiny: Path, tmp_path: Path) -> None:
    zoo = Path(os.environ["ADSTILTS_ZOO"]) / "tiny"
    record = json.loads((zoo / "qa" / "module.json").read_text())
    record["recipe"] |= {"max_length": 96, "stride": 8}
    record["run"] = "cd" * 8
    other = tmp_path / "longer"
    other.mkdir()
    for path in (zoo / "qa").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "module.json").write_text(json.dumps(record))
    short, long = run("tiny-qa", "squad", str(other), langs="en", out="out")
    assert short.languages["en"]["settings"]["max_length"] == 64
    settings = dict(long.languages["en"]["settings"])
    assert len(settings.pop("code")) == len(settings.pop("tokenizer")) == 16
    assert settings == {
        "rules": 1,
        "precision": "float32",
        "limit": None,
        "max_length": 96,
        "stride": 8,
    }


def test_a_language_that_the_data_lacks_is_named_and_the_others_run(tiny: Path) -> None:
    (tiny / "data" / "tiny-nli" / "test-sw.tsv").unlink()
    (found,) = run("tiny-nli", "nli")
    assert found.partial
    assert list(found.languages) == ["en", "de", "ko"]
    assert "test-sw.tsv" in found.missing["sw"]
    assert "sw" not in found.scores
    with pytest.raises(UserError, match=r"test-sw\.tsv .*; --split dev is there"):
        run("tiny-nli", "nli", langs="sw")


def test_languages_outside_the_suites_have_no_part_in_the_averages(tiny: Path) -> None:
    write_data(tiny / "data", "ha")
    (listed,) = run("tiny-nli", "nli")
    (found,) = run("tiny-nli", "nli", langs="all,ha")
    assert found.outside == ("ha",) and found.as_dict()["outside"] == ["ha"]
    assert list(found.scores) == [*LANGUAGES, "ha"] and found.scores["ha"]
    assert found.average == listed.average
    assert (found.without_english, found.gap) == (listed.without_english, listed.gap)
    (alone,) = run("tiny-nli", "nli", langs="ha")
    assert list(alone.scores) == ["ha"] and alone.average == {}
    assert written(alone, "ha") == written(found, "ha")


def test_test_sets_without_labels_give_predictions_and_no_scores(tiny: Path) -> None:
    write_data(tiny / "data", "ko", labels=False)
    for task, module in TASKS.items():
        (found,) = run(task, module)
        assert not found.partial
        assert not found.languages["ko"]["labelled"]
        assert found.languages["ko"]["scores"] == {}
        assert list(found.scores) == ["en", "de", "sw"]
        assert len(read_predictions(task, written(found, "ko"))) == ROWS
        (blind,) = run(task, module, langs="ko", out=f"blind/{module}")
        assert (blind.average, blind.english, blind.gap) == ({}, {}, {})


def test_a_set_with_some_labels_is_an_error_that_names_the_first_without(tiny: Path) -> None:
    path = tiny / "data" / "tiny-pos" / "test-de.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[4])
    del row["tags"]
    lines[4] = json.dumps(row)
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"test-de\.jsonl, line 5: has no label"):
        run("tiny-pos", "pos")


def test_malformed_data_is_an_error_before_anything_runs(tiny: Path) -> None:
    path = tiny / "data" / "tiny-nli" / "test-sw.tsv"
    path.write_text(path.read_text() + "a\tb\tmaybe\n")
    with pytest.raises(UserError, match=rf"test-sw\.tsv, line {ROWS + 2}"):
        run("tiny-nli", "nli")
    assert not (tiny / "predictions").exists()


@pytest.mark.parametrize(
    ("task", "compositions", "options", "words"),
    [
        ("tiny-qo", ("qa",), {}, ("no target task 'tiny-qo'", "tiny-qa")),
        ("tiny-qa", ("qa",), {"langs": "kö"}, ("no language 'kö'",)),
        ("tiny-qa", ("qa",), {"langs": "fr"}, ("no test data of tiny-qa.fr", "test-fr.json")),
        ("tiny-qa", ("qa",), {"langs": "jp,en"}, ("no language 'jp': did you mean 'ja'?",)),
        ("tiny-qa", ("qa",), {"langs": ","}, ("no language given", "en, de, ko, sw")),
        ("tiny-qa", ("qa",), {"split": "train"}, ("no split of tiny-qa 'train'", "dev, test")),
        ("tiny-qa", ("qa", "nothing"), {}, ("no module 'nothing'",)),
        ("tiny-qa", (), {}, ("no composition",)),
        ("tiny-qa", ("nli",), {}, ("'nli' has a classification head", "needs a span one")),
        ("tiny-qa", ("none",), {"backbone": "x"}, ("'none' has no head", "span")),
        ("tiny-qa", ("qa",), {"data": "nowhere"}, ("nowhere", "not there")),
        ("tiny-qa", ("qa",), {"limit": 0}, ("limit 0",)),
        ("tiny-qa", ("qa",), {"batch_tokens": 0}, ("batch-tokens 0", "above 0")),
        ("tiny-qa", ("qa",), {"layer": 3}, ("tiny-qa has a head", "leave out --layer")),
    ],
)
def test_a_mistake_gets_one_line_before_any_weights_are_loaded(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    compositions: tuple[str, ...],
    options: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the backbone was loaded")

    monkeypatch.setattr(jobs, "load_engine", refuse)
    with pytest.raises(UserError) as raised:
        run(task, *compositions, **options)
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)
    assert not (tiny / "predictions").exists()


def test_heads_whose_labels_are_not_the_tasks(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nli, copa, *_ = evaluation_kit.TARGETS
    changed = (
        dataclasses.replace(nli, labels=("0", "1", "2")),
        dataclasses.replace(copa, choices=4),
    )
    monkeypatch.setattr(evaluation_kit, "TARGETS", changed)
    evaluation_kit.register()
    with pytest.raises(UserError, match="'nli' has the labels contradiction, entailment, neutral"):
        run("tiny-nli", "nli")


@pytest.mark.parametrize(
    ("signum", "batch_tokens"),
    [
        ("SIGKILL", 64),
        ("SIGINT", 8192),
        pytest.param("SIGKILL", 8192, marks=pytest.mark.slow),
        pytest.param("SIGINT", 64, marks=pytest.mark.slow),
    ],
)
def test_killed_between_languages_it_goes_on_with_the_others(
    tiny: Path, signum: str, batch_tokens: int
) -> None:
    code = in_a_process(evaluation_kit.evaluate_until, signum, batch_tokens)
    assert code in (-getattr(signal, signum), 1)
    done: dict[str, Mapping[str, Any]] = {}
    (found,) = run("tiny-qa", "qa-on-squad", on_language=lambda _, lang, e: done.update({lang: e}))
    assert set(done) == {"ko", "sw"}
    assert list(found.languages) == list(LANGUAGES)
    assert [entry["session"] for entry in found.languages.values()] == [0, 0, 1, 1]
    (alone,) = run("tiny-qa", "qa-on-squad", out="alone")
    assert alone.scores == found.scores
    assert all(written(alone, each) == written(found, each) for each in LANGUAGES)


def test_memory_does_not_grow_with_the_data(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the first chunk on: what is loaded before it is larger than any chunk."""
    predict = labels._run
    peaks: list[int] = []

    def watched(*given: Any) -> Any:
        gc.collect()  # after many other tests Python does so too seldom to count by
        if not peaks:
            tracemalloc.reset_peak()
        found = predict(*given)
        peaks.append(tracemalloc.get_traced_memory()[1])
        return found

    def peak(rows: int) -> int:
        write_data(tiny / "data", "en", rows=rows)
        options: dict[str, Any] = {"langs": "en", "batch_tokens": 64, "out": f"out{rows}"}
        run("tiny-qa", "qa", **options)  # converts data and makes features
        tracemalloc.start()
        with monkeypatch.context() as patched:
            patched.setattr(labels, "_run", watched)
            run("tiny-qa", "qa", overwrite=True, **options)
        tracemalloc.stop()
        found = max(peaks)
        assert len(peaks) >= 3  # or what is done between two chunks is not in it
        peaks.clear()
        return found

    few, many = peak(20), peak(50)
    # A question leaves its answers behind, to be scored at the end: much less than its windows.
    assert (many - few) / 30 < 3_000
