"""A study's file, and the graph of runs that it stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapter_stilts.backbones import find_backbone
from adapter_stilts.errors import UserError
from adapter_stilts.keywords import descriptions
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.outlook import look_ahead
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.run import FORMATS, export_plan
from adapter_stilts.study.spec import _Part
from adapter_stilts.study.spec_file import load_study, template
from cli_kit import call_cli

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
TEXT = """\
name: small
backbone: tiny
intermediate: [squad, mnli]
targets:
  - xnli
  - {task: xquad, also: [{task: mlqa, split: dev}]}
arms: [alone, singles, as-is, fusion-full, multitask, uniform, merged, alone-longer]
budget: {steps: 30, train_rows: 50, intermediate_steps: 20, intermediate_rows: 40}
rates: [1.0e-3, 3.0e-3]
seeds: {intermediate: [0, 1], target: [0, 1]}
"""


def _plan(tmp_path: Path, text: str = TEXT, *, unequal: bool = False) -> Plan:
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return make_plan(load_study(file, unequal=unequal))


@pytest.mark.whole
@pytest.mark.parametrize("file", STUDIES, ids=lambda path: path.stem)
def test_the_ready_studies_are_plans(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(Path(__file__).parents[2] / "adapters_zoo"))
    plan = make_plan(load_study(file))
    assert plan.study.name == file.stem
    assert look_ahead(plan, StudyFolder(tmp_path)).left == len(plan.runs) >= 12


def test_there_are_ready_studies() -> None:
    names = {"xtreme", "xtreme_r", "source_languages", "language_adapters", "embedded_xtreme_r"}
    assert names <= {file.stem for file in STUDIES}


def test_the_template_is_a_study(tmp_path: Path) -> None:
    assert _plan(tmp_path, template()).runs


def test_intermediate_modules_are_trained_once_for_all(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    trained = [
        (run.arm, run.seed_intermediate)
        for run in plan.runs.values()
        if run.stage == "intermediate" and run.arm != "merged"
    ]
    assert sorted(trained) == [(name, k) for name in ("mnli", "multitask", "squad") for k in (0, 1)]


def test_what_is_needed_comes_first(tmp_path: Path) -> None:
    seen: set[str] = set()
    for run in _plan(tmp_path).runs.values():
        assert seen.issuperset(run.needs)
        seen.add(run.id)


def test_every_arm_has_the_same_budget_and_rates(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    for run in plan.runs.values():
        if run.stage not in ("rate", "target"):
            continue
        longer = run.arm == "alone-longer"
        assert (run.does["steps"], run.does["rows"]) == ((50, 90) if longer else (30, 50))
        if run.stage == "target":
            assert [plan.runs[each].does["lr"] for each in run.rates] == [1e-3, 3e-3]


def test_a_module_as_it_is_stands_where_its_head_fits(tmp_path: Path) -> None:
    found = {
        (run.target, run.intermediate)
        for run in _plan(tmp_path).runs.values()
        if run.arm == "as-is"
    }
    assert found == {("xnli", ("mnli",)), ("xquad", ("squad",))}


def test_a_tagger_of_other_tags_is_no_answer_as_it_is(tmp_path: Path) -> None:
    text = TEXT.replace("[squad, mnli]", "[ccg, mnli]").replace("- xnli", "- udpos")
    with pytest.raises(UserError, match="line 7: 'as-is'"):
        _plan(tmp_path, text)


def test_a_head_of_more_options_is_no_answer_as_it_is(tmp_path: Path) -> None:
    text = TEXT.replace("squad, mnli", "commonsense-qa, mnli").replace(
        "{task: xquad", "{task: xcopa"
    )
    text = text.replace(", also: [{task: mlqa, split: dev}]", "")
    runs = _plan(tmp_path, text).runs.values()
    assert {(run.target, *run.intermediate) for run in runs if run.arm == "as-is"} == {
        ("xnli", "mnli")
    }


def test_the_plan_is_shown_in_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _plan(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    asked = ("study", "plan", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"))
    code, printed, _ = call_cli(monkeypatch, capsys, *asked)
    assert code == 0
    assert max(map(len, printed.splitlines())) <= 80
    assert all(name[:8] in printed for name in plan.runs)
    for word in ("hours left", "detectable", "Disk", "assumed"):
        assert word in printed
    code, printed, _ = call_cli(monkeypatch, capsys, *asked, "--json")
    assert [each["id"] for each in json.loads(printed)["runs"]] == list(plan.runs)


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("intermediate_steps: 20", "intermediate_steps: 21", {"alone"}),
        ("name: small", "name: other", None),
        ("seeds: {intermediate: [0, 1]", "seeds: {intermediate: [0, 1, 2]", None),
        ("{steps: 30", "{steps: 31", {"squad", "mnli", "as-is"}),
    ],
)
def test_a_change_redoes_only_what_depends_on_it(
    tmp_path: Path, old: str, new: str, kept: set[str] | None
) -> None:
    before, after = _plan(tmp_path), _plan(tmp_path, TEXT.replace(old, new))
    same = before.runs.keys() & after.runs.keys()
    if kept is None:
        assert same == before.runs.keys()
    else:
        assert {run.id for run in before.runs.values() if run.arm in kept} <= same
        changed = {run.stage for run in before.runs.values() if run.id not in same}
        assert {"rate", "target"} <= changed


def test_runs_are_read_as_written(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    for run in _plan(tmp_path).runs.values():
        folder.write_run(run, "small")
        assert folder.read_run(run.id) == ("small", run)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    run = Run("target", "alone", "bottleneck", {}, on=("0123456789abcdef",))
    with pytest.raises(UserError, match="cycle"):
        Plan(_plan(tmp_path).study).add(run)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("backbone:", "bakbone:", ("line 2", "bakbone", "backbone")),
        ("squad, mnli", "squd, mnli", ("line 3", "squd", "squad")),
        ("  - xnli", "  - xnil", ("line 5", "xnil", "xnli")),
        ("also: [{task", "also: [{tsk", ("line 6", "tsk", "task")),
        ("task: mlqa", "task: mqla", ("line 6", "mqla", "mlqa")),
        ("singles,", "singels,", ("line 7", "singels", "singles")),
        ("{steps", "{stepz", ("line 8", "stepz", "steps")),
        ("steps: 30", "steps: -1", ("line 8", "steps")),
        ("1.0e-3", "1e-3x", ("line 9", "rates.0", "a number")),
        ("target: [0, 1]", "target: [0, x]", ("line 10", "target")),
        ("name: small", "langs: [en, xx9]\nname: small", ("line 1", "xx9")),
        ("name: small", "methods: [lorra]\nname: small", ("line 1", "lorra", "lora")),
        ("squad, mnli", "squad, squad", ("line 3", "squad", "twice")),
        ("name: small", "name: [", ("line", "YAML")),
        ("- xnli", "- {task: xnli, split: tset}", ("line 5", "tset")),
        ("arms: [alone", "arms: [{arm: alone, steps: 9}", ("line 7", "--unequal")),
        ("name: small", "name: small\nname: large", ("line 2", "name", "line 1")),
        ("{intermediate: [0", "{intermediat: [0", ("line 10", "intermediat", "intermediate")),
        ("name: small", "langs: []\nname: small", ("line 1", "langs")),
        ("rates: [1.0e-3,", "rates: [1.0e-3, 1.0e-3,", ("line 9", "0.001", "twice")),
        ("- xnli", "- {task: xnli, layer: 7}", ("line 5", "layer", "xnli")),
        ("- xnli", "- {task: xnli, also: [xnli]}", ("line 5", "xnli", "already")),
        ("name: small", "below: [swahili]\nname: small", ("line 1", "swahili", "lang:sw")),
        ("name: small", "below: ['lang:xx9']\nname: small", ("line 1", "xx9")),
        ("name: small", "source_langs: [en, en]\nname: small", ("line 1", "en", "twice")),
        (
            "name: small",
            "contrasts: [{name: a, first: alone, second: singles},"
            " {name: a, first: singles, second: alone}]\nname: small",
            ("line 1", "'a'", "twice"),
        ),
        ("multitask,", "multitask, arrow,", ("line 7", "arrow", "lora")),
        ("[squad, mnli]", "[squad]", ("line 7", "two intermediate")),
        ("- xnli", "- {task: tatoeba, train_rows: 9}", ("line 5", "tatoeba", "train_rows")),
        ("- xnli", "- {task: xnli, split: dev}", ("line 5", "xnli", "choose_on: train")),
        ("[alone,", "[{arm: alone, seeds: {intermediate: [4]}},", ("line 7", "alone", "seeds")),
        ("name: small", "methods: [lora, lora]\nname: small", ("line 1", "lora", "twice")),
        ("name: small", "langs: [en, en]\nname: small", ("line 1", "'en'", "twice")),
        ("name: small", "source_langs: [xx9]\nname: small", ("line 1", "xx9")),
        ("name: small", "name: ../small", ("line 1", "letters")),
        ("steps: 30", "steps: many", ("line 8", "whole number")),
        (
            "{steps: 30, train_rows: 50, intermediate_steps: 20, intermediate_rows: 40}",
            "30",
            ("line 8", "keys with values"),
        ),
        ("[squad, mnli]", "[]", ("line 3", "empty")),
        ("[squad, mnli]", "squad", ("line 3", "list")),
        *(
            (
                "name: small",
                f"contrasts: [{{name: a, first: {first}, second: {second}}}]\nname: small",
                ("line 1", *words),
            )
            for first, second, words in (
                ("alone", "alone", ("alone", "itself")),
                ("'alone:squad'", "singles", ("alone:squad",)),
                ("'singles:squad+mnli'", "alone", ("singles:squad+mnli",)),
            )
        ),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        _plan(tmp_path, TEXT.replace(old, new, 1))
    for word in ("study.yaml", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_layer_that_the_backbone_lacks(tmp_path: Path, tiny_xlmr: Path) -> None:
    text = TEXT.replace("- xnli", "- {task: tatoeba, layer: LAYER}", 1)
    text = text.replace("backbone: tiny", f"backbone: {tiny_xlmr}")
    deepest = find_backbone(str(tiny_xlmr)).fields["num_hidden_layers"]
    assert _plan(tmp_path, text.replace("LAYER", str(deepest))).runs
    with pytest.raises(UserError, match=rf"line 5.*no layer {deepest + 1}: .* has {deepest}$"):
        _plan(tmp_path, text.replace("LAYER", str(deepest + 1)))


def test_unequal_budgets_are_marked_where_they_are_allowed(tmp_path: Path) -> None:
    text = TEXT.replace("arms: [alone", "arms: [{arm: alone, steps: 9}")
    runs = _plan(tmp_path, text, unequal=True).runs.values()
    assert {run.arm for run in runs if run.unequal} == {"alone"}


def test_a_module_that_the_zoo_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'squad'"):
        _plan(tmp_path, TEXT + f"zoo: {tmp_path}\n")


@pytest.mark.parametrize("form", FORMATS)
def test_exports_have_every_run(tmp_path: Path, form: str) -> None:
    plan = _plan(tmp_path)
    text = export_plan(plan, StudyFolder(tmp_path / "out"), form)
    assert all(name in text for name in plan.runs)


def _parts() -> list[type[_Part]]:
    """The models of all parts of a study's file."""
    found = [_Part]
    for each in found:
        found += each.__subclasses__()
    return found[1:]


@pytest.mark.parametrize("part", _parts())
def test_every_key_of_a_study_is_described(part: type[_Part]) -> None:
    own = [name for name in part.__annotations__ if name in part.model_fields]
    assert own == list(descriptions(part))
    page = Path(__file__).parents[2] / "docs" / "studies.md"
    assert f"::: adapter_stilts.study.spec.{part.__name__}\n" in page.read_text("utf-8")
