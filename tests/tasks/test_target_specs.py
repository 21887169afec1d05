"""One test over every target task: its declaration is sound, and its data is read as declared."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from adapter_stilts.data import load_examples
from adapter_stilts.data.parts import find_parts, samples_folder
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import has_labels
from adapter_stilts.metrics import metric_names
from adapter_stilts.tasks.registry import get_target, get_trained, intermediate_tasks, target_tasks
from adapter_stilts.tasks.spec import Source, Split, Suite, TargetSpec, TaskSpec, codes

NAMES = codes("bucc2018 lareqa mewslix mlqa panx pawsx tatoeba tydiqa udpos xcopa xnli xquad")
TARGETS = [target_tasks()[name] for name in NAMES]
SPLITS: tuple[Split, ...] = ("dev", "test")

# The languages of XTREME (Hu et al. 2020, tables 1 and 8) and XTREME-R (Ruder et al. 2021).
QA = "ar de el en es hi ru th tr vi zh"
XTREME = {
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh",
    "pawsx": "de en es fr ja ko zh",
    "udpos": "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl "
    "tr ur vi yo zh",
    "panx": "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl "
    "pt ru sw ta te th tl tr ur vi yo zh",
    "xquad": QA,
    "mlqa": "ar de en es hi vi zh",
    "tydiqa": "ar bn en fi id ko ru sw te",
    "bucc2018": "de fr ru zh",
    "tatoeba": "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru "
    "sw ta te th tl tr ur vi zh",
}
XTREME_R = {
    **{name: XTREME[name] for name in ("xnli", "xquad", "mlqa", "tydiqa")},
    "udpos": f"{XTREME['udpos']} lt pl ro uk wo",
    "panx": f"{XTREME['panx']} az gu lt pa pl qu ro uk",
    "tatoeba": f"{XTREME['tatoeba']} az lt pl ro uk",
    "xcopa": "et ht id it qu sw ta th tr vi zh",
    "lareqa": QA,
    "mewslix": "ar de en es fa ja pl ro ta tr uk",
}
COUNTS = {
    "xnli": (15, 15),
    "pawsx": (7, None),
    "udpos": (33, 38),
    "panx": (40, 48),
    "xquad": (11, 11),
    "mlqa": (7, 7),
    "tydiqa": (9, 9),
    "bucc2018": (4, None),
    "tatoeba": (36, 41),
    "xcopa": (None, 11),
    "lareqa": (None, 11),
    "mewslix": (None, 11),
}
METRICS = {
    "classification": {"accuracy"},
    "choice": {"accuracy"},
    "tagging": {"seqeval_f1"},
    "span": {"squad", "mlqa"},
    "embedding": {"accuracy", "bitext_f1", "map_at_20"},
}
CATEGORIES = {
    "classification": "classification",
    "choice": "classification",
    "tagging": "structured",
    "span": "qa",
    "embedding": "retrieval",
}

each_target = pytest.mark.parametrize("target", TARGETS, ids=NAMES)
each_trained = pytest.mark.parametrize(
    "target", [task for task in TARGETS if task.training], ids=lambda task: task.name
)
each_retrieval = pytest.mark.parametrize(
    "target", [task for task in TARGETS if task.retrieval], ids=lambda task: task.name
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "target-cache"
    monkeypatch.setenv("ADSTILTS_CACHE", str(folder))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)


def every_language(target: TargetSpec) -> tuple[str, ...]:
    return (*target.languages, *target.others)


def sides(target: TargetSpec, language: str) -> list[TaskSpec]:
    """All that a language is evaluated with: the examples, for retrieval the queries first."""
    found = [target.at(language)]
    if target.retrieval:
        found.append(target.candidates(language))
        found += [target.gold(language)] if target.retrieval.gold else []
    return found


def written(value: Any) -> Iterator[str]:
    """Every text in a declaration."""
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from written(getattr(value, each.name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from written(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from written(inner)


# ---- declarations


def test_the_twelve_are_there() -> None:
    # Their names are also the folders of a submission to XTREME.
    assert set(NAMES) <= set(target_tasks())
    assert not [target.name for target in TARGETS if target.submission]


@each_target
def test_declaration(target: TargetSpec) -> None:
    assert target.metric in METRICS[target.head] & set(metric_names())
    assert target.category == CATEGORIES[target.head]
    assert target.title and target.licence
    assert "\n" not in target.citation and re.search(r"\b(19|20)\d\d\b", target.citation)
    assert 64 <= target.max_length <= 512
    assert bool(target.labels) == (target.head == "classification")
    assert len(target.submitted) in (0, len(target.labels))
    assert (target.choices > 1) == (target.head == "choice")
    assert (target.retrieval is not None) == (target.head == "embedding")
    assert not target.near or target.near in intermediate_tasks()


@each_target
def test_published_figure(target: TargetSpec) -> None:
    figures = [value for value in target.published.values() if isinstance(value, float)]
    assert len(figures) == bool(target.published) and all(0 < value < 100 for value in figures)
    if target.published:
        assert target.published["model"] and "arXiv:" in str(target.published["source"])


@each_retrieval
def test_retrieval(target: TargetSpec) -> None:
    assert target.retrieval
    assert (target.retrieval.search == "mining") == bool(target.retrieval.gold)
    assert bool(target.retrieval.gold) == (target.retrieval.gold_example is not None)
    assert not (target.retrieval.pooled and target.retrieval.shared)


@each_trained
def test_training_stages(target: TargetSpec) -> None:
    *_, last = target.training
    assert last.name == target.name
    assert (last.head, last.labels, last.choices) == (target.head, target.labels, target.choices)
    assert set(target.train_languages) <= set(every_language(target))
    for stage in target.training:
        assert stage.metric in metric_names() and set(stage.sizes) == {"train", "dev"}
        assert all(any(source.has(split) for source in stage.sources) for split in stage.sizes)
        assert get_trained(stage.name) == stage


@each_target
def test_sources(target: TargetSpec) -> None:
    tasks = [*sides(target, target.languages[0]), *target.training]
    for source in (source for task in tasks for source in task.sources):
        assert source.files and (source.hub or source.obtain)
        if source.hub:
            assert source.hub.id.count("/") == 1
            assert re.fullmatch(r"[0-9a-f]{40}|refs/convert/parquet", source.hub.revision)
    for task in tasks:
        assert len({source.name for source in task.sources}) == len(task.sources)


# ---- languages


@pytest.mark.parametrize("suite", ["xtreme", "xtreme-r"])
@each_target
def test_languages(target: TargetSpec, suite: Suite) -> None:
    wanted = (XTREME if suite == "xtreme" else XTREME_R).get(target.name)
    found = target.suites.get(suite)
    assert (wanted is None) == (found is None)
    assert (len(found) if found else None) == COUNTS[target.name][suite == "xtreme-r"]
    assert sorted(found or ()) == sorted((wanted or "").split())


@each_target
def test_english_comes_first(target: TargetSpec) -> None:
    assert len(set(target.languages)) == len(target.languages)
    assert "en" not in target.languages or target.languages[0] == "en"
    assert not set(target.others) & set(target.languages)


def filled(tasks: list[TaskSpec]) -> list[Source]:
    """The sources but for what may be called after another code of the language."""
    sources = [source for task in tasks for source in task.sources]
    return [dataclasses.replace(source, spelled=()) for source in sources]


@each_target
def test_every_language_is_filled_in(target: TargetSpec) -> None:
    tasks = [task for language in every_language(target) for task in sides(target, language)]
    if target.training:
        tasks += [task for each in target.train_languages for task in target.trained_in(each)]
    for text in written(filled(tasks)):
        assert "{" not in text and "}" not in text


def _places(source: Source) -> set[str]:
    """Every glob and every split on the Hub that rows are read from."""
    hub = [str(sorted(each.items())) for splits in _hub_splits(source) for each in splits]
    files = [
        f"{glob} {layout.only}" if layout.only[0] else glob
        for layout in source.files
        for glob in written(layout.paths)
    ]
    return {*hub, *files}


def _hub_splits(source: Source) -> list[Any]:
    return list(source.hub.splits.values()) if source.hub else []


@each_target
def test_no_two_languages_are_read_from_the_same_place(target: TargetSpec) -> None:
    places = [
        set().union(*map(_places, target.at(each).sources)) for each in every_language(target)
    ]
    assert all(places) and sum(map(len, places)) == len(set().union(*places))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("tatoeba", r"(v1/)?tatoeba\.[a-z]{3}-eng\.eng|[a-z]{2}-en\.en|.*'[a-z]{3}-eng'.*"),
        ("udpos", r".*\b[a-z]{2}\b.*|.*'udpos\.[A-Z][a-z]+'.*"),
        ("mlqa", r".*context-[a-z]{2}-question-[a-z]{2}\.json|.*'MLQA\.[a-z]{2}\.[a-z]{2}'.*"),
        ("tydiqa", r".*(\.[a-z]{2}\.dev|-dev-[a-z]{6,})\.json|.*'[a-z]{6,}-'.*"),
    ],
)
def test_codes_are_mapped_in_every_language(name: str, pattern: str) -> None:
    target = get_target(name)
    for language in every_language(target):
        for source in target.at(language).sources:
            assert all(re.fullmatch(pattern, place) for place in _places(source)), language


@each_target
def test_unknown_language(target: TargetSpec) -> None:
    for language in (target.languages[-1], target.languages[0]):
        with pytest.raises(UserError, match=f"no language '{language}-x': did you mean "):
            target.at(f"{language}-x")
    with pytest.raises(UserError, match="no language 'klingon': give one of ISO 639"):
        target.at("klingon")


@each_target
def test_any_other_language(target: TargetSpec) -> None:
    for language in ("tlh", "sr-Latn"):
        tasks = sides(target, language)
        assert {task.language for task in tasks} == {language}
        for text in written(filled(tasks)):
            assert "{" not in text and "}" not in text


@each_target
def test_unknown_source_language(target: TargetSpec) -> None:
    if not target.training:
        with pytest.raises(UserError, match=f"{target.name} has no training data"):
            target.trained_in("en")
        return
    with pytest.raises(UserError, match="no language 'en-x': did you mean 'en'"):
        target.trained_in("en-x")
    if len(target.train_languages) == 1:
        with pytest.raises(UserError, match=f"of {target.name} is in en, not in 'tlh'"):
            target.trained_in("tlh")
    else:
        assert [task.language for task in target.trained_in("tlh")] == ["tlh"]
    assert [task.language for task in target.trained_in("en")] == ["en"] * len(target.training)


# ---- names


def test_no_two_tasks_share_a_name() -> None:
    # A composition and the zoo have room for one task of a name. Spelling of dashes is free.
    stages = {stage.name: stage for target in TARGETS for stage in target.training}
    named = [(task.name, *task.aliases) for task in TARGETS]
    named += [(task.name, *task.aliases) for task in intermediate_tasks().values()]
    named += [(name, *stage.aliases) for name, stage in stages.items() if name not in NAMES]
    spelled: Counter[str] = Counter()
    for names in named:
        spelled.update({"".join(c for c in name if c.isalnum() or c == "+") for name in names})
    assert [name for name, count in spelled.items() if count > 1] == []


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("PAWS-X", "pawsx"),
        ("UD-POS", "udpos"),
        ("PAN-X", "panx"),
        ("WikiANN", "panx"),
        ("TyDiQA-GoldP", "tydiqa"),
        ("BUCC", "bucc2018"),
        ("copa", "xcopa"),
        ("XQuAD-R", "lareqa"),
        ("Mewsli-X", "mewslix"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert get_target(alias).name == name


def test_unknown_target_is_suggested() -> None:
    with pytest.raises(
        UserError, match=re.escape("no target task 'tidyqa': did you mean 'tydiqa'")
    ):
        get_target("tidyqa")


# ---- bundled samples


def sampled(target: TargetSpec, split: Split) -> list[str]:
    """The languages that have samples."""
    found = []
    for language in target.languages + (("en",) if "en" in target.others else ()):
        try:
            find_parts(target.at(language), split, samples_folder())
        except UserError:
            continue
        found.append(language)
    return found


def splits_of(target: TargetSpec) -> list[Split]:
    return [split for split in SPLITS if any(source.has(split) for source in target.sources)]


def sampled_sets(target: TargetSpec) -> Iterator[tuple[Split, str]]:
    """Every split and language that has samples."""
    for split in splits_of(target):
        for language in sampled(target, split):
            yield split, language


def shown_texts(task: TaskSpec, rows: Any) -> set[str]:
    """What a model reads of the examples."""
    columns = {
        "classification": ("text_a", "text_b"),
        "choice": ("prompt",),
        "span": ("context", "question"),
        "tagging": ("words",),
        "embedding": ("query", "text", "context"),
    }[task.head]
    return {str(row[column]) for row in rows for column in columns} - {""}


@pytest.mark.parametrize("split", SPLITS)
@each_target
def test_bundled_samples(target: TargetSpec, split: Split) -> None:
    if split not in splits_of(target):
        return
    languages = sampled(target, split)
    assert len(languages) >= min(3, len(target.languages) // 2)
    for language in languages:
        task = target.at(language)
        found = load_examples(task, split, "sample")
        rows = found.examples
        assert found.origin == "sample" and len(rows) >= 6
        assert len(set(rows["id"])) == len(rows)
        if target.retrieval is None:
            assert has_labels(task, split, "sample", found)
        if "label" in rows.column_names:
            assert set(rows["label"]) == set(range(len(task.labels) or task.choices))


@each_retrieval
def test_samples_to_search(target: TargetSpec) -> None:
    assert target.retrieval
    for split, language in sampled_sets(target):
        queries, candidates, *gold = (
            load_examples(task, split, "sample").examples for task in sides(target, language)
        )
        if target.retrieval.search == "nearest":
            assert len(queries) == len(candidates)
            assert len(set(queries["query"])) == len(set(candidates["text"])) == len(queries)
        elif target.retrieval.search == "mining":
            assert set(gold[0]["id"]) < set(queries["id"])
            assert {name for names in gold[0]["gold"] for name in names} < set(candidates["id"])
        else:
            keys = {key for keys in candidates["gold"] for key in keys}
            assert all(len(wanted) == 1 and wanted[0] in keys for wanted in queries["gold"])


def test_lareqa_samples_ask_the_same_in_every_language() -> None:
    target = get_target("lareqa")
    ids = {
        language: list(load_examples(target.at(language), "test", "sample").examples["id"])
        for language in sampled(target, "test")
    }
    assert set(ids) == {"en", "de", "es"} and ids["en"] == ids["de"] == ids["es"]
    for language in ids:
        found = load_examples(target.candidates(language), "test", "sample").examples
        assert sorted(key for keys in found["gold"] for key in keys) == sorted(ids[language])


@pytest.mark.parametrize(("split", "least"), [("train", 24), ("dev", 6)])
@each_trained
def test_samples_to_learn_from(target: TargetSpec, split: Split, least: int) -> None:
    for stage in target.trained_in("en"):
        assert len(load_examples(stage, split, "sample").examples) >= least


@each_trained
def test_no_evaluation_text_is_learnt(target: TargetSpec) -> None:
    learnt: set[str] = set()
    for stage in target.trained_in("en"):
        learnt |= shown_texts(stage, load_examples(stage, "train", "sample").examples)
    for split, language in sampled_sets(target):
        for task in sides(target, language):
            rows = load_examples(task, split, "sample").examples
            assert not learnt & shown_texts(task, rows)


@each_target
def test_dev_and_test_samples_do_not_overlap(target: TargetSpec) -> None:
    if splits_of(target) != list(SPLITS):
        return
    for language in sampled(target, "test"):
        task = target.at(language)
        dev, test = (
            shown_texts(task, load_examples(task, split, "sample").examples) for split in SPLITS
        )
        assert not dev & test
