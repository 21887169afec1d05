"""A loaded module answers, classifies, chooses and tags single inputs."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter_stilts import load, predict
from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.zoo.local import load_module
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.predict import InputError
from made_modules import LABELS, make_engine, save_made

CONTEXT = "Ann went to Rome in May. Bob stayed at home and read a book about sailing. " * 6


def test_answer_is_a_piece_of_the_context(folders: Mapping[str, Path]) -> None:
    module = load(folders["span"])
    found = module.answer("Who went to Rome?", CONTEXT)
    assert set(found) == {"answer", "start", "score"}
    assert found["answer"]
    stripped = CONTEXT[found["start"] :].lstrip()
    assert stripped.startswith(found["answer"])


def test_threshold_for_no_answer(folders: Mapping[str, Path]) -> None:
    module = load(folders["span"], precision="fp32")
    rows: Any = [{"question": "Who?", "context": CONTEXT}]
    (answer,) = module.predict(rows).values

    def given(threshold: float | None) -> dict[str, Any]:
        record = dataclasses.replace(module.record, task="squad-v2", no_answer_threshold=threshold)
        return Module(module.engine, record, module.name).answer("Who?", CONTEXT)

    best = given(None)
    assert best["answer"]
    assert given(answer.no_answer + 1e-3) == best
    assert given(answer.no_answer - 1e-3) == {
        "answer": "",
        "start": -1,
        "score": answer.null_score,
    }


def test_no_answer_in_nothing(folders: Mapping[str, Path]) -> None:
    assert load(folders["span"]).answer("Who?", "")["answer"] == ""


def test_classify_sorts_labels_by_probability(folders: Mapping[str, Path]) -> None:
    module = load(folders["classification"])
    found = module.classify("A cat sat.", "An animal sat.")
    assert set(found) == set(LABELS["classification"]) == set(module.labels)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert set(module.classify("Alone.")) == set(found)


def test_choose(folders: Mapping[str, Path]) -> None:
    options = ["swims.", "reads a book.", "eats.", "explodes loudly in the night."]
    found = load(folders["choice"]).choose("The cat", options)
    assert found["option"] == options[found["choice"]]
    assert found["choice"] == found["probabilities"].index(max(found["probabilities"]))
    assert sum(found["probabilities"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("given", [0, 3, 5])
def test_wrong_number_of_options(folders: Mapping[str, Path], given: int) -> None:
    module = load(folders["choice"])
    with pytest.raises(UserError, match=f"'hellaswag' chooses among 4 options, not {given}"):
        module.choose("The cat", ["a"] * given)
    rows: Any = [{"prompt": "p", "options": ["a"] * n} for n in (8 - given, given)]
    with pytest.raises(UserError, match="chooses among 4 options"):
        module.predict(rows)


def test_tag_gives_every_word_a_tag(folders: Mapping[str, Path]) -> None:
    module = load(folders["tagging"])
    words = [f"word{n}" for n in range(80)]  # more than one window
    found = module.tag(words)
    assert [word for word, _ in found] == words
    assert {tag for _, tag in found} <= set(LABELS["tagging"])
    assert module.tag([]) == []


def test_what_is_no_input_is_refused(folders: Mapping[str, Path]) -> None:
    pairs, tags = load(folders["classification"]), load(folders["tagging"])
    number: Any = 3
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: pairs.classify(number), "'text_a' must be a text"),
        (lambda: pairs.classify("a", number), "'text_b' must be a text"),
        (lambda: load(folders["span"]).answer("q", number), "'context' must be a text"),
        (lambda: load(folders["choice"]).choose("p", "abcd"), "'options' must be a list"),
        (lambda: tags.tag([number]), "'words' must be a list of texts"),
        (lambda: pairs.predict("a b"), r"'a b', .* text_a, text_b .*predict\(text_a=…\)"),  # type: ignore[arg-type]
        (lambda: pairs.predict([{"text_a": "a"}, {"txt": "a"}]), "example 1: .* 'text_a' is"),
        (lambda: pairs.predict([{"text_a": "a", "lang": "zz"}]), "example 0: .*'zz'"),
        (lambda: pairs.score([]), "no examples"),
        (lambda: pairs.score([{"text_a": "a", "text_b": ""}]), "example 0 .* label"),
        (lambda: pairs.embed("a b"), "'a b' is one text"),
    ]
    for call, named in calls:
        with pytest.raises(UserError, match=named):
            call()
    assert [word for word, _ in tags.tag("Ann was here")] == ["Ann", "was", "here"]


@pytest.mark.parametrize("head", ["classification", "choice", "span", "tagging", "embedding"])
def test_wrong_head(folders: Mapping[str, Path], head: str) -> None:
    module = load(folders[head])
    calls: dict[str, Callable[[], Any]] = {
        "span": lambda: module.answer("q", "c"),
        "classification": lambda: module.classify("a"),
        "choice": lambda: module.choose("p", ["a"] * 4),
        "tagging": lambda: module.tag(["a"]),
    }
    for kind, call in calls.items():
        if kind == head:
            call()
        else:
            with pytest.raises(UserError, match=rf"has a {head} head, not a {kind} one"):
                call()


def test_nothing_to_predict(folders: Mapping[str, Path]) -> None:
    for folder in folders.values():
        assert load(folder).predict([]).values == []


@pytest.mark.parametrize("task", ["mnli", "squad"])
def test_score_is_the_official_one(folders: Mapping[str, Path], task: str) -> None:
    head = get_task(task).head
    module = load(folders[head], precision="fp32")
    rows: Any = load_examples(get_task(task), "dev", "sample").examples.to_list()
    scores = module.score(rows)
    assert all(0 <= value <= 100 for value in scores.values())
    if task == "mnli":
        values = module.predict(rows).values
        right = sum(row["label"] == value for row, value in zip(rows, values, strict=True))
        assert scores["accuracy"] == pytest.approx(100 * right / len(rows))
    else:
        assert set(scores) >= {"f1", "exact_match"}


def test_found_by_name_and_loaded_on_a_moved_backbone(
    zoo: Path, folders: Mapping[str, Path], tiny_xlmr: Path, tmp_path: Path
) -> None:
    (zoo / "tiny").mkdir(parents=True)
    (zoo / "tiny" / "mnli").symlink_to(folders["classification"])
    moved = tmp_path / "moved"
    moved.symlink_to(tiny_xlmr)
    module = load("mnli", backbone=str(moved))
    assert module.engine.backbone.name == str(moved)
    assert module.record.task == "mnli"


def test_module_on_the_embedded_backbone(embedded: str, tmp_path: Path) -> None:
    engine = make_engine(embedded)
    save_made(engine, "squad-lora", "lora", "span", tmp_path / "m")
    expected = Module(engine, load_module(engine, tmp_path / "m", name="again"), "again")
    engine.model.set_active_adapters("squad-lora")
    engine.model.active_head = "squad-lora"
    first = expected.answer("Who went to Rome?", CONTEXT)
    engine.model.set_active_adapters("again")
    engine.model.active_head = "again"
    second = expected.answer("Who went to Rome?", CONTEXT)
    assert first["answer"] == second["answer"]
    assert first["score"] == pytest.approx(second["score"], abs=1e-4)


def test_embed_gives_unit_vectors_whatever_the_head(folders: Mapping[str, Path]) -> None:
    texts = ["Ann went to Rome.", "Bob read a book about sailing in May.", ""]
    for head in ("embedding", "span"):
        module = load(folders[head], precision="fp32")
        vectors = module.embed(texts)
        assert vectors.shape == (3, 32) and vectors.dtype == np.float16
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=1e-3)
        assert np.array_equal(vectors, module.embed(texts, layer=3))
        assert not np.allclose(vectors, module.embed(texts, layer=1))
        assert not np.allclose(vectors, module.embed(texts, pooling="max"))
        longer = module.embed([texts[0], (texts[0], "It was hot there.")])
        assert np.array_equal(longer[0], vectors[0])
        assert not np.allclose(longer[1], vectors[0], atol=1e-2)
        assert module.embed([]).shape == (0, 32)
    with pytest.raises(UserError, match=r"no layer 4: .* has layers 1 to 3, and 0"):
        module.embed(texts, layer=4)
    with pytest.raises(UserError, match="no pooling 'maen': did you mean 'mean'"):
        module.embed(texts, pooling="maen")


def test_embedding_module_predicts_vectors_and_scores_pairs(folders: Mapping[str, Path]) -> None:
    module = load(folders["embedding"], precision="fp32")
    rows: Any = [
        {"id": str(n), "query": text, "text": text, "context": "", "gold": []}
        for n, text in enumerate(["Ann went to Rome.", "Bob stayed at home.", "A book."])
    ]
    vectors = module.embed([row["text"] for row in rows])
    assert np.array_equal(module.predict(rows).values, vectors)
    asked: Any = [{"query": row["text"]} for row in rows]
    assert np.array_equal(module.predict(asked).values, vectors)
    assert module.predict_one({"text": "A book."}) == {"vector": [float(v) for v in vectors[2]]}
    assert module.score(rows) == {"map_at_20": 100.0}  # every query finds itself
    assert module.labels == ()


def test_several_inputs_have_the_fields_of_one(folders: Mapping[str, Path]) -> None:
    """What a command or a line of JSON names is understood in a list, too, and said the same."""
    inputs: Mapping[str, list[dict[str, Any]]] = {
        "span": [{"question": "Who went to Rome?", "context": CONTEXT, "id": 7}],
        "classification": [
            {"premise": "A cat sat.", "hypothesis": "An animal sat."},
            {"text_a": "A cat sat.", "text_b": "An animal sat.", "label": 0},
            {"text": "Alone."},
        ],
        "choice": [
            {"prompt": "The cat", "choices": ("swims.", "eats.", "runs.", "sits.")},
            {"prompt": "", "question": "What?", "options": np.array(["a", "b", "c", "d"])},
        ],
        "tagging": [
            {"text": "Ann was here"},
            {"words": "Ann was here"},
            {"tokens": ["Ann", "was", "here"]},
            {"text": "我", "lang": "zh"},
        ],
        "embedding": [{"text": "A book.", "context": "It lay there."}, {"text": ""}],
    }
    for head, rows in inputs.items():
        module = load(folders[head], precision="fp32")
        found = module.predict(rows)
        assert len(found.values) == len(found.said) == len(rows)
        for row, said in zip(rows, found.said, strict=True):
            alone = module.predict_one(row)
            assert predict(module, [row]).said[0].keys() == said.keys()
            assert said.keys() - {"id", "lang"} == alone.keys()
            assert str(said.get("id", "")) == str(row.get("id", ""))
            if head == "tagging":
                assert said["tags"] == alone["tags"]
    tags = load(folders["tagging"]).predict(inputs["tagging"]).values
    assert [len(each) for each in tags] == [3, 3, 3, 1]


def test_answers_are_a_table(folders: Mapping[str, Path]) -> None:
    found = load(folders["classification"]).predict([{"text": "A."}, {"text": "B.", "id": 3}])
    assert repr(found) == "<Answers to 2 inputs: classification head>"
    frame = found.to_dataframe()
    assert set(frame.columns) == {"id", "label", *LABELS["classification"]}
    assert list(frame["label"]) == [LABELS["classification"][value] for value in found.values]
    assert "<table>" in found._repr_html_() and "Answers to 2 inputs" in found._repr_html_()
    one = {"text": "A."}  # by itself, which a list of its keys is not
    assert load(folders["classification"]).predict(one).values == found.values[:1]  # type: ignore[call-overload]


def test_what_goes_to_another_process(folders: Mapping[str, Path]) -> None:
    """An error that cannot be read there would let a pool of processes wait for ever."""
    module = load(folders["classification"])
    with pytest.raises(InputError) as wrong:
        module.predict([{"text": 3}])
    for each in (wrong.value, module.predict([{"text": "A."}])):
        assert repr(pickle.loads(pickle.dumps(each))) == repr(each)
    assert pickle.loads(pickle.dumps(wrong.value)).field == "text"
    with pytest.raises(UserError, match=r"load\('mnli'\)"):
        pickle.dumps(module)
    assert {module: 1}[module]


def test_threads_may_ask_one_module(folders: Mapping[str, Path]) -> None:
    """They share a tokenizer, which keeps where it cuts, and refuses to be told twice at once."""
    module = load(folders["span"], precision="fp32")

    def answer() -> Any:
        return module.answer("Who went to Rome?", CONTEXT * 20)

    def embed() -> Any:
        return module.embed([CONTEXT * 20, "Ann."]).tolist()

    asked = [answer, embed] * 20
    alone = [answer(), embed()] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda ask: ask(), asked)) == alone
