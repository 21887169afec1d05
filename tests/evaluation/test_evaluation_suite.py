"""The map from tasks to compositions, and suites evaluated task by task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation import suite as suites
from adapter_stilts.evaluation.suite import (
    SUITES,
    evaluate_suite,
    read_map,
    suite_targets,
    summary_rows,
)
from adapter_stilts.tasks.registry import target_tasks


def test_every_task_of_the_suites_is_there_with_its_languages() -> None:
    for suite, categories in SUITES.items():
        targets = suite_targets(suite)
        assert list(targets) == [name for members in categories.values() for name in members]
        for category, members in categories.items():
            for name in members:
                assert targets[name].category == category
                assert dict(targets[name].suites)[suite]  # type: ignore[index]
    with_suite = {name for name, task in target_tasks().items() if "xtreme-r" in task.suites}
    assert with_suite == set(suite_targets("xtreme-r"))
    with pytest.raises(UserError, match="no suite 'xtrem': did you mean 'xtreme'"):
        suite_targets("xtrem")


def test_a_map_names_tasks_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text("# mine\nTyDiQA: stack(squad, tydiqa)\npaws-x: pawsx\nxnli: 'x'\n")
    assert read_map(path) == {"tydiqa": "stack(squad, tydiqa)", "pawsx": "pawsx", "xnli": "x"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("xnli: a\ntydiqo: b\n", ("line 2", "no target task 'tydiqo'", "'tydiqa'")),
        ("xnli: a\nmlqa: b\nXNLI: c\n", ("line 3", "'XNLI' stands there a second time")),
        ("xnli: a\npawsx:\n", ("line 2", "no composition for task 'pawsx'")),
        ("xnli: [a, b]\n", ("line 1", "a task and a composition")),
        ("- xnli\n", ("line 1", "expected lines such as")),
        ("", ("expected lines such as",)),
        ("xnli: a\n  b: c: d\n", ("line 2", "not valid YAML")),
        ("xnli: 'a\n", ("not valid YAML",)),
        ("xnli: \x01\n", ("not valid YAML",)),
    ],
)
def test_a_malformed_map_is_one_line_with_file_and_place(
    tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        read_map(path)
    message = str(raised.value)
    assert "\n" not in message
    for word in ("runs.yaml", *words):
        assert word in message


def test_a_map_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        read_map(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.yaml: cannot be read"):
        read_map(tmp_path / "bytes.yaml")


@pytest.fixture
def suite(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """XTREME-R made of three small targets; options of every call."""
    members = {"classification": ("nli",), "structured": ("pos",), "qa": ("qa",)}
    monkeypatch.setitem(suites.SUITES, "xtreme-r", members)
    metrics = {"nli": ("accuracy",), "pos": ("f1",), "qa": ("exact_match", "f1")}
    monkeypatch.setattr(suites, "METRICS", metrics)
    return {"data": "data", "precision": "fp32"}


WITH = {"tiny-nli": "nli-lora", "tiny-pos": "pos", "tiny-qa": "qa-on-squad"}


def test_a_suite_is_a_submission_with_a_composition_a_task(suite: dict[str, Any]) -> None:
    told: list[str] = []
    found = evaluate_suite(
        "xtreme-r", WITH, out="out", on_task=lambda name, _: told.append(name), **suite
    )
    assert told == ["nli", "pos", "qa"]
    assert not found.partial
    qa = found.evaluations["qa"]
    assert qa.composition == "qa-on-squad"
    expected = (qa.average["exact_match"] + qa.average["f1"]) / 2
    assert found.scores.tasks["qa"].score == pytest.approx(expected)
    assert found.scores.overall is not None
    for name, ending in (("nli", "tsv"), ("pos", "tsv"), ("qa", "json")):
        for language in ("en", "de", "ko", "sw"):
            assert Path("out", name, f"test-{language}.{ending}").is_file()
        record = json.loads(Path("out", name, "evaluation.json").read_text())
        assert record["composition"]["expression"] == found.evaluations[name].composition
    assert json.dumps(found.as_dict())
    again = evaluate_suite("xtreme-r", WITH, out="out", **suite)
    assert again.as_dict() == found.as_dict()


def test_missing_data_and_blind_sets_leave_no_overall_score(
    suite: dict[str, Any], tiny: Path
) -> None:
    for path in (tiny / "data" / "tiny-pos").iterdir():
        path.unlink()
    found = evaluate_suite("xtreme-r", WITH, **suite)
    assert found.partial
    assert "tiny-pos" in found.missing["pos"]
    assert found.scores.missing == ("pos",)
    assert found.scores.overall is None
    assert found.scores.partial_average is not None
    with pytest.raises(UserError, match="no test data of tiny-pos"):
        evaluate_suite("xtreme-r", {"tiny-pos": "pos"}, **suite)


def test_a_language_that_lacks_data_leaves_the_scores_of_the_others(
    suite: dict[str, Any], tiny: Path
) -> None:
    for path in (tiny / "data" / "tiny-pos").glob("*-sw*"):
        path.unlink()
    found = evaluate_suite("xtreme-r", WITH, out="out", limit=5, **suite)
    rows = {row[0]: row[1:] for row in summary_rows(found)}
    tasks = found.scores.tasks
    assert rows["pos"] == ("pos", "3", f"{tasks['pos'].partial_average:.1f} in 3 of 4")
    assert rows["structured"][-1] == rows["pos"][-1]
    assert rows["qa"][-1] == f"{tasks['qa'].score:.1f}"
    assert rows["overall"][-1] == f"{found.scores.partial_average:.1f} in 11 of 12"
    kept = json.loads(Path("out", "summary.json").read_text())
    assert kept["options"] == {"split": "test", "limit": 5}
    assert kept["tasks"]["pos"]["missing"] == ["sw"] and kept["overall"] is None
    page = Path("out", "summary.md").read_text()
    assert f"| pos | pos | 3 | {rows['pos'][-1]} |" in page
    assert "no score for pos in sw" in page


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no composition for any task of xtreme-r"),
        ({"tiny-copa": "copa"}, "tiny-copa is not a task of xtreme-r: these are nli, pos, qa"),
        ({"tiny-qa": "qa", "tiny_qa": "squad"}, "'tiny-qa' was given two compositions"),
        ({"tiny-qa": "qa", "tiny-nli": "pos"}, "'pos' has a tagging head"),
        ({"tiny-qa": "qa", "tiny-nli": "nothing"}, "no module 'nothing'"),
    ],
)
def test_mistakes_are_found_before_the_first_task(
    suite: dict[str, Any], given: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        evaluate_suite("xtreme-r", given, **suite)
    assert not Path("predictions").exists()
