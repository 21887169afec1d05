"""Specs from Python: what is wrong with one is named before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts as ads
from adapter_stilts.data.load import load_examples
from adapter_stilts.registered import restore, snapshot
from adapter_stilts.tasks.registry import check_metric, check_spec, intermediate_tasks, target_tasks
from own_kit import PAIR, ROWS, task_file


def example(row: Any) -> dict[str, Any]:
    return {"id": "", "text_a": row["text"], "text_b": "", "label": int(row["label"] == "yes")}


def make(folder: Path, **changes: Any) -> ads.TaskSpec:
    (folder / "a.csv").write_text(ROWS, "utf-8")
    given: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "head": PAIR,
        "metric": "accuracy",
        "sources": (source(folder),),
        "to_example": example,
        "licence": "CC0",
        "citation": "",
        "sizes": {},
        "labels": ("no", "yes"),
        **changes,
    }
    return ads.TaskSpec(**given)


def source(folder: Path, form: Any = "table", **given: Any) -> ads.Source:
    paths: Any = given or {"train": ("a.csv",), "dev": ("a.csv",)}
    layout = ads.FileData(form, paths)
    return ads.Source("mine", (layout,), None, root=str(folder))


def test_every_spec_of_the_package_passes() -> None:
    for task in intermediate_tasks().values():
        assert ads.get_task(task) is task == check_metric(check_spec(task))
    for target in target_tasks().values():
        assert ads.get_target(target) is target == check_metric(check_spec(target))


def test_lists_become_tuples(tmp_path: Path) -> None:
    listed = make(tmp_path, labels=["no", "yes"], sources=[source(tmp_path)], max_length="64")
    spec = ads.get_task(listed)
    assert (spec.labels, spec.max_length) == (("no", "yes"), 64)
    assert load_examples(spec, "train").examples["label"] == [1, 0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"head": "clasification"}, "did you mean 'classification'"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"metric": "seqeval_f1"}, "seqeval_f1"),
        ({"labels": "no"}, "'labels'"),
        ({"labels": ()}, "'labels'"),
        ({"labels": ("no",)}, "'labels'"),
        ({"labels": ("no", "no")}, "'labels'"),
        ({"name": "../x"}, "'name'"),
        ({"name": ""}, "'name'"),
        ({"name": "squad"}, "'squad'"),
        ({"sources": "a.csv"}, "'sources'"),
        ({"to_example": None}, "'to_example'"),
        ({"max_length": "long"}, "'max_length'"),
        ({"max_length": 0}, "'max_length'"),
        ({"language": "xx9"}, "'xx9'"),
        ({"sources": (source(Path(), "xlsx"),)}, "'xlsx'"),
        ({"sources": (source(Path(), train="a.csv"),)}, "'a.csv'"),
        ({"sources": (source(Path(), training=("a.csv",)),)}, "'training'"),
    ],
)
def test_spec_is_refused_where_it_is_given(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    spec = make(tmp_path, **change)
    for use in (ads.train_adapter, ads.get_target):
        with pytest.raises(ads.UserError) as caught:
            use(spec)
        assert named in str(caught.value) and "\n" not in str(caught.value)


def test_registered_spec_is_refused_at_its_line(tmp_path: Path) -> None:
    before = snapshot()
    try:
        with pytest.raises(ads.UserError, match=r"test_own_specs\.py:\d+.*'nohead'"):
            ads.register(make(tmp_path, head="nohead"))
        # A plug-in may add the metric after the task: it is asked for when the task is used.
        ads.register(make(tmp_path, name="later", metric="later"))
        with pytest.raises(ads.UserError, match="'later'"):
            ads.get_task("later")
    finally:
        restore(before)


@pytest.mark.parametrize("given", [["mnli"], {"name": "mnli"}, 3, ads.TaskSpec, None])
def test_what_is_no_task_is_refused(given: Any) -> None:
    for use in (ads.get_task, ads.get_target):
        with pytest.raises(ads.UserError, match="is no task"):
            use(given)


def _fails(row: Any) -> Any:
    return 1 // 0


@pytest.mark.parametrize(
    ("to_example", "named"),
    [
        (_fails, "ZeroDivisionError"),
        (lambda row: {"id": "", "text_a": "x"}, "'text_b'"),
        (lambda row: {**example(row), "label": "yes"}, "'label'"),
        (lambda row: {**example(row), "label": 1.0}, "'label'"),
        (lambda row: {**example(row), "label": True}, "'label'"),
        (lambda row: {**example(row), "text_b": None}, "'text_b'"),
        (lambda row: {**example(row), "text_a": 3}, "'text_a'"),
        (lambda row: "x", "'x'"),
        (lambda row: [example(row)], "no example"),
    ],
)
def test_example_of_another_kind_is_refused_with_its_row(
    tmp_path: Path, to_example: Callable[..., Any], named: str
) -> None:
    spec = ads.get_task(make(tmp_path, to_example=to_example))
    with pytest.raises(ads.UserError, match=r"a\.csv, line 2") as caught:
        load_examples(spec, "train")
    assert named in str(caught.value)


def test_a_file_in_one_language_is_not_taken_for_another(tmp_path: Path) -> None:
    from adapter_stilts.evaluation.data import resolve_languages

    path = task_file(tmp_path, "a.csv", ROWS)
    target = ads.get_target(path)
    assert resolve_languages(target, "all") == ("en",)
    with pytest.raises(ads.UserError, match="'de'"):
        resolve_languages(target, "de")
    with pytest.raises(ads.UserError, match=r"no task file.*\.yaml"):
        ads.get_task(tmp_path / "a.csv")
    of_several = replace(target, sources=(source(tmp_path, test=("a-{lang}.csv",)),))
    assert resolve_languages(of_several, "de") == ("de",)
