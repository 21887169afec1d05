"""Retrieval against the plainest search: one text at a time, all products, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import LanguageResult
from adapter_stilts.evaluation.retrieval import evaluate_retrieval
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.metrics.retrieval import average_precision
from adapter_stilts.tasks.registry import get_target
from retrieval_kit import (
    NONE,
    composed,
    sentence,
    vectors,
    write,
    write_bucc,
    write_entities,
    write_lareqa,
    write_mewslix,
    write_tatoeba,
)

pytestmark = pytest.mark.usefixtures("cache")


def found(
    engine: Engine,
    task: str,
    languages: list[str],
    data: Path,
    *,
    split: Any = "test",
    what: Any = NONE,
    **options: Any,
) -> dict[str, LanguageResult]:
    target = get_target(task)
    return dict(evaluate_retrieval(engine, what, target, languages, split, str(data), **options))


def tatoeba(data: Path, count: int = 30) -> list[tuple[str, str]]:
    """Pairs whose other side has one word more."""
    pairs = [(sentence(n), f"{sentence(n)} so") for n in range(count)]
    write_tatoeba(data, "deu", pairs)
    return pairs


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_translations_are_the_nearest_sentences(engine: Engine, tmp_path: Path, layer: int) -> None:
    pairs = tatoeba(tmp_path)
    (result,) = found(engine, "tatoeba", ["de"], tmp_path, layer=layer).values()
    english, german = (vectors(engine, side, layer) for side in zip(*pairs, strict=True))
    nearest = (english @ german.T).argmax(1)
    assert result.predictions == [str(place) for place in nearest]
    accuracy = 100 * float((nearest == np.arange(len(pairs))).mean())
    assert result.scores == {"accuracy": pytest.approx(accuracy)}
    assert result.labelled and result.seconds > 0
    assert result.details == {"layer": layer, "pooling": "mean"}


def test_modules_and_pooling_make_other_vectors(engine: Engine, tmp_path: Path) -> None:
    tatoeba(tmp_path, 60)
    what = composed(engine, "m")
    plain = found(engine, "tatoeba", ["de"], tmp_path, layer=3)["de"].predictions
    module = found(engine, "tatoeba", ["de"], tmp_path, layer=3, what=what)["de"].predictions
    first = found(engine, "tatoeba", ["de"], tmp_path, layer=3, pooling="first")["de"].predictions
    assert len({tuple(each) for each in (plain, module, first)}) == 3


def test_a_limit_draws_queries_and_leaves_the_candidates(engine: Engine, tmp_path: Path) -> None:
    pairs = tatoeba(tmp_path)
    whole = found(engine, "tatoeba", ["de"], tmp_path, layer=1)["de"]
    some = found(engine, "tatoeba", ["de"], tmp_path, layer=1, limit=8)["de"]
    rows = np.sort(np.random.default_rng(0).choice(len(pairs), size=8, replace=False))
    assert some.predictions == [whole.predictions[row] for row in rows]
    right = sum(whole.predictions[row] == str(row) for row in rows)
    assert some.scores == {"accuracy": pytest.approx(100 * right / 8)}


def test_sorted_translations_are_found_but_not_scored(engine: Engine, tmp_path: Path) -> None:
    """XTREME's own copies: German in the order of the corpus, English in that of the alphabet."""
    pairs = tatoeba(tmp_path / "aligned")
    english = sorted(each for each, _ in pairs)
    write(tmp_path / "sorted/tatoeba/de-en.de", "".join(f"{german}\n" for _, german in pairs))
    write(tmp_path / "sorted/tatoeba/de-en.en", "".join(f"{each}\n" for each in english))
    aligned = found(engine, "tatoeba", ["de"], tmp_path / "aligned", layer=1)["de"]
    blind = found(engine, "tatoeba", ["de"], tmp_path / "sorted", layer=1)["de"]
    place = {each: number for number, (each, _) in enumerate(pairs)}
    assert blind.predictions == [aligned.predictions[place[each]] for each in english]
    assert blind.predictions != aligned.predictions
    assert aligned.labelled and not blind.labelled and blind.scores == {}


def test_files_that_do_not_belong_together(engine: Engine, tmp_path: Path) -> None:
    tatoeba(tmp_path)
    path = tmp_path / "tatoeba" / "v1" / "tatoeba.deu-eng.deu"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"30 sentences in .*eng, but 29 translations in .*deu"):
        found(engine, "tatoeba", ["de"], tmp_path, layer=1)


def bucc(data: Path, *, gold: bool = True) -> tuple[Any, Any]:
    """Corpora of which every third sentence has a translation, dev and test."""
    for number, split in enumerate(("dev", "test")):
        base = 50 * number
        sources = {f"zh-{n}": f"{sentence(base + n)} so" for n in range(40)}
        targets = {f"en-{n}": sentence(base + n + 27 * (n % 3)) for n in range(40)}
        pairs = [(f"zh-{n}", f"en-{n}") for n in range(0, 40, 3)]
        if split == "test":
            sources["zh-40"] = sources["zh-0"]  # a sentence that stands twice has no one id
        write_bucc(data, "zh", split, sources, targets, pairs if gold or split == "dev" else None)
    return sources, targets


def test_mined_pairs_are_taken_from_the_threshold_of_dev_on(engine: Engine, tmp_path: Path) -> None:
    sources, targets = bucc(tmp_path)
    dev = found(engine, "bucc2018", ["zh"], tmp_path, split="dev", layer=1)["zh"]
    test = found(engine, "bucc2018", ["zh"], tmp_path, layer=1)["zh"]
    assert set(dev.scores) == set(test.scores) == {"f1", "precision", "recall"}
    assert dev.details["threshold"] == test.details["threshold"] > 0
    pairs = [tuple(line.split("\t")) for line in test.predictions]
    assert pairs and all(a in sources and b in targets for a, b in pairs)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert not {"zh-0", "zh-40"} & {a for a, _ in pairs}
    gold = {(f"zh-{n}", f"en-{n}") for n in range(0, 40, 3)}
    right = len(gold & set(pairs))
    assert test.scores["precision"] == pytest.approx(100 * right / len(pairs))
    assert test.scores["recall"] == pytest.approx(100 * right / len(gold))
    assert dev.scores["f1"] > 60


def test_the_pairs_of_dev_are_the_best_of_all_thresholds(engine: Engine, tmp_path: Path) -> None:
    """By hand: ratio margins of all pairs of each other's nearest, cut at every place."""
    bucc(tmp_path)
    result = found(engine, "bucc2018", ["zh"], tmp_path, split="dev", layer=1)["zh"]
    x = vectors(engine, [f"{sentence(n)} so" for n in range(40)], 1)
    y = vectors(engine, [sentence(n + 27 * (n % 3)) for n in range(40)], 1)
    cosines = x @ y.T
    forward = np.sort(cosines, 1)[:, -4:].mean(1)
    backward = np.sort(cosines, 0)[-4:].mean(0)
    margins = cosines / ((forward[:, None] + backward[None]) / 2)
    threshold = result.details["threshold"]
    for line in result.predictions:
        source, target = (int(name.split("-")[1]) for name in line.split("\t"))
        assert margins[source, target] > threshold - 1e-3
    assert len(result.predictions) >= 10


def test_test_pairs_that_are_not_published(engine: Engine, tmp_path: Path) -> None:
    bucc(tmp_path, gold=False)
    result = found(engine, "bucc2018", ["zh"], tmp_path, layer=1)["zh"]
    assert result.predictions and not result.labelled and result.scores == {}
    with pytest.raises(UserError, match=r"no (dev|test) data of bucc2018\.de"):
        found(engine, "bucc2018", ["de"], tmp_path, layer=1)


def test_a_limit_of_mining_leaves_pairs_of_the_drawn_sentences(
    engine: Engine, tmp_path: Path
) -> None:
    bucc(tmp_path)
    result = found(engine, "bucc2018", ["zh"], tmp_path, split="dev", layer=1, limit=20)["zh"]
    assert result.scores["recall"] > 50  # of those that could be found


def lareqa(data: Path) -> dict[str, Any]:
    """Two languages; `de` says the same in other words, and its second sentence twice."""
    english = [
        [(sentence(n), f"which {sentence(n)}") for n in range(first, first + 3)]
        for first in range(0, 24, 3)
    ]
    german = [[(f"{text} so", f"so {asked}") for text, asked in part] for part in english]
    german[0][2] = (german[0][1][0], german[0][2][1])
    for language, paragraphs in (("en", english), ("de", german)):
        write_lareqa(data, language, paragraphs)
    return {"en": english, "de": german}


def test_ranking_over_all_languages_equals_brute_force(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = lareqa(tmp_path)
    results = found(engine, "lareqa", ["de", "en"], tmp_path, layer=2)
    names, texts, answers = [], [], []
    for language in ("en", "de"):
        number = 0
        for place, part in enumerate(made[language], start=1):
            context = " ".join(text for text, _ in part)
            listed: dict[str, list[str]] = {text: [] for text, _ in part}
            for text, _ in part:
                listed[text].append(f"q{number}")
                number += 1
            for spot, (text, _) in enumerate(part):
                names.append(f"{language}_{place}_{spot}")
                texts.append((text, context))
                answers.append(listed[text])
    candidates = vectors(engine, texts, 2)
    for language, result in results.items():
        questions = [asked for part in made[language] for _, asked in part]
        scores = vectors(engine, questions, 2) @ candidates.T
        precisions = []
        members = json.loads("{" + ",".join(result.predictions) + "}")
        assert list(members) == [f"q{n}" for n in range(24)]
        for number, row in enumerate(scores):
            relevant = [
                name for name, keys in zip(names, answers, strict=True) if f"q{number}" in keys
            ]
            assert len(relevant) == 2 + (number in (1, 2))
            precisions.append(average_precision(members[f"q{number}"], relevant, 20))
            # Vectors of half precision decide between near ties otherwise.
            own = [row[names.index(name)] for name in members[f"q{number}"]]
            np.testing.assert_allclose(own, np.sort(row)[::-1][:20], atol=2e-3)
        assert result.scores == {"map_at_20": pytest.approx(100 * float(np.mean(precisions)))}
        assert result.details["candidates"] == 48
        lacking = result.details["no_candidates_in"]
        assert "el" in lacking and "de" not in lacking
    assert "lareqa: no candidates in ar, " in caplog.text


def test_candidates_are_computed_once_and_kept(
    engine: Engine, tmp_path: Path, computed: list[int], cache: Path
) -> None:
    lareqa(tmp_path)
    first = found(engine, "lareqa", ["de", "en"], tmp_path, layer=2)
    assert sorted(computed) == [24, 24, 24, 24]  # two languages' queries and candidates
    again = found(engine, "lareqa", ["en", "de"], tmp_path, layer=2)
    assert len(computed) == 4
    assert {k: v.predictions for k, v in again.items()} == {
        k: v.predictions for k, v in first.items()
    }
    found(engine, "lareqa", ["en"], tmp_path, layer=2, pooling="max")
    assert len(computed) == 7
    module = composed(engine, "m")
    found(engine, "lareqa", ["en"], tmp_path, layer=2, what=module)
    assert len(computed) == 10
    file = min(cache.glob("*/vectors.npy"))
    file.write_bytes(file.read_bytes()[:-10])
    for options in ({}, {"pooling": "max"}, {"what": module}):
        found(engine, "lareqa", ["en", "de"][: 2 - bool(options)], tmp_path, layer=2, **options)
    assert len(computed) == 11  # the damaged file alone
    assert not [path for path in cache.iterdir() if path.is_dir() and path.name[0] == "."]


def test_entities_of_one_pool_for_all_languages(
    engine: Engine, tmp_path: Path, computed: list[int]
) -> None:
    entities = {f"Q{n}": sentence(n) for n in range(50)}
    write_entities(tmp_path, entities)
    mentions = {
        lang: [(f"{lang}{n}", sentence(n + 3), f"Q{n + 3}") for n in range(6)]
        for lang in ("de", "en")
    }
    mentions["de"].append(("de6", sentence(60), "Q60"))  # an entity that is no candidate
    for language, listed in mentions.items():
        write_mewslix(tmp_path, language, "test", listed)
    results = found(engine, "mewslix", ["de", "en"], tmp_path, layer=1)
    assert sorted(computed) == [6, 7, 50]
    for language, result in results.items():
        ranked = json.loads("{" + ",".join(result.predictions) + "}")
        assert {len(set(ids)) for ids in ranked.values()} == {20}
        assert set(ranked) == {name for name, _, _ in mentions[language]}
        reciprocal = [
            1 / (1 + ranked[name].index(entity)) if entity in ranked[name] else 0
            for name, _, entity in mentions[language]
        ]
        assert result.scores == {"map_at_20": pytest.approx(100 * float(np.mean(reciprocal)))}
        assert result.details["candidates"] == 50 and "no_candidates_in" not in result.details


def test_queries_without_gold_are_ranked_all_the_same(engine: Engine, tmp_path: Path) -> None:
    write_entities(tmp_path, {f"Q{n}": sentence(n) for n in range(30)})
    write_mewslix(tmp_path, "de", "test", [("a", sentence(1), ""), ("b", sentence(2), "")])
    result = found(engine, "mewslix", ["de"], tmp_path, layer=1)["de"]
    assert len(result.predictions) == 2 and not result.labelled and result.scores == {}


def test_a_language_that_is_not_there(engine: Engine, tmp_path: Path) -> None:
    lareqa(tmp_path)
    with pytest.raises(UserError, match=r"no test data of lareqa\.el"):
        found(engine, "lareqa", ["el"], tmp_path, layer=1)
    with pytest.raises(UserError, match="no language 'xx'"):
        found(engine, "lareqa", ["xx"], tmp_path, layer=1)
    with pytest.raises(UserError, match="no layer 9"):
        found(engine, "lareqa", ["en"], tmp_path, layer=9)


@pytest.mark.parametrize(
    ("task", "ending"),
    [("tatoeba", "tsv"), ("bucc2018", "tsv"), ("lareqa", "json"), ("mewslix", "json")],
)
def test_the_bundled_samples_from_end_to_end(
    tiny_xlmr: Path, tmp_path: Path, task: str, ending: str, computed: list[int]
) -> None:
    options: dict[str, Any] = {
        "compositions": ["none"],
        "backbone": str(tiny_xlmr),
        "data": "sample",
        "out": tmp_path / "out",
    }
    (done,) = evaluate(task, **options)
    assert done.languages
    for language, entry in done.languages.items():
        text = (tmp_path / "out" / entry["file"]).read_text(encoding="utf-8")
        assert entry["file"].endswith(f"test-{language}.{ending}")
        if ending == "json":
            assert all(len(ids) <= 20 for ids in json.loads(text).values())
        elif task == "tatoeba":
            assert all(line.isdecimal() for line in text.splitlines())
        else:
            assert all(line.count("\t") == 1 for line in text.splitlines())
        assert entry["details"]["layer"] in range(4)
    assert (tmp_path / "out" / get_target(task).name / "layer.json").is_file()
    before = len(computed)
    (again,) = evaluate(task, **options)
    assert len(computed) == before > 0
    assert again.languages == done.languages
