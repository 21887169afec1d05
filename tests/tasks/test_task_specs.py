"""One test over every task: its declaration is sound, and its bundled samples load."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from adapter_stilts.data import data_status, load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_task, intermediate_tasks
from adapter_stilts.tasks.spec import Split, TaskSpec

TASKS = list(intermediate_tasks().values())
METRICS = {"accuracy", "f1", "squad", "squad_v2", "tag_accuracy"}
LEAST: dict[Split, int] = {"train": 64, "dev": 24}

each_task = pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "spec-cache"
    monkeypatch.setenv("ADSTILTS_CACHE", str(folder))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)


def test_the_nine_are_there() -> None:
    names = "anli-plus ccg commonsense-qa cosmos-qa hellaswag mnli qqp squad squad-v2"
    assert list(intermediate_tasks()) == names.split()


@each_task
def test_declaration(task: TaskSpec) -> None:
    assert task.metric in METRICS
    assert set(task.sizes) == {"train", "dev"}
    assert task.title and task.licence and task.citation and "\n" not in task.citation
    assert re.search(r"\b(19|20)\d\d\b", task.citation)
    assert 64 <= task.max_length <= 512
    assert bool(task.labels) == (task.head == "classification")
    assert (task.choices > 1) == (task.head == "choice")
    assert len({source.name for source in task.sources}) == len(task.sources)


@each_task
def test_sources(task: TaskSpec) -> None:
    for source in task.sources:
        assert source.files
        assert source.hub or source.obtain
        for layout in source.files:
            assert all(layout.paths[split] for split in ("train", "dev"))
        if source.hub:
            assert source.hub.id.count("/") == 1
            assert re.fullmatch(r"[0-9a-f]{40}|refs/convert/parquet", source.hub.revision)
            assert set(source.hub.splits) == {"train", "dev"}


def test_no_two_tasks_share_a_name() -> None:
    # "squad2" and "squad-2" are one name: spelling of dashes is free.
    spellings = [
        {"".join(c for c in name if c.isalnum() or c == "+") for name in (task.name, *task.aliases)}
        for task in TASKS
    ]
    assert sum(len(names) for names in spellings) == len(set().union(*spellings))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("anli", "anli-plus"),
        ("ANLI+", "anli-plus"),
        ("squad2", "squad-v2"),
        ("squad_v2", "squad-v2"),
        ("squad-v1", "squad"),
        ("csqa", "commonsense-qa"),
        ("CommonsenseQA", "commonsense-qa"),
        ("cosmosqa", "cosmos-qa"),
        ("ccgbank", "ccg"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert get_task(alias).name == name


def test_unknown_task_is_suggested() -> None:
    with pytest.raises(UserError, match=re.escape("no task 'sqad': did you mean 'squad'")):
        get_task("sqad")


@each_task
@pytest.mark.parametrize("split", ["train", "dev"])
def test_bundled_samples(task: TaskSpec, split: Split) -> None:
    found = load_examples(task, split, "sample")
    assert found.origin == "sample"
    assert len(found.examples) >= LEAST[split]
    assert len(set(found.examples["id"])) == len(found.examples)
    if "label" in found.examples.column_names:
        classes = len(task.labels) or task.choices
        counts = Counter(found.examples["label"])
        assert len(counts) == classes
        assert max(counts.values()) <= 1.7 * len(found.examples) / classes
    if task.unanswerable:
        empty = sum(not answers for answers in found.examples["answers"])
        assert 0.2 < empty / len(found.examples) < 0.8


@each_task
def test_train_and_dev_samples_do_not_overlap(task: TaskSpec) -> None:
    columns = {
        "classification": ("text_a", "text_b"),
        "choice": ("prompt",),
        "span": ("context", "question"),
        "tagging": ("words",),
    }[task.head]
    train, dev = (
        {
            str([row[column] for column in columns])
            for row in load_examples(task, split, "sample").examples
        }
        for split in ("train", "dev")
    )
    assert not train & dev


def test_samples_are_small() -> None:
    from adapter_stilts.data.parts import samples_folder

    files = [path for path in samples_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000


@each_task
def test_status_without_network(task: TaskSpec, tmp_path: Path) -> None:
    assert data_status(task, "sample").found
    missing = data_status(task, str(tmp_path))
    assert not missing.found and "expected" in missing.detail and "\n" not in missing.detail
    assert not data_status(task, str(tmp_path / "nowhere")).found


def test_dev_categories_of_the_ccg_samples_are_learnt() -> None:
    train, dev = (load_examples(get_task("ccg"), split, "sample") for split in ("train", "dev"))
    known = {tag for tags in train.examples["tags"] for tag in tags}
    words = [tag for tags in dev.examples["tags"] for tag in tags]
    assert sum(tag in known for tag in words) / len(words) > 0.95
