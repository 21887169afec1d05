"""Studies whose intermediate modules lie in a zoo, and arms with seeds of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adapter_stilts.errors import UserError
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, RunResult
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.run import describe, run_study
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.work import _Work, work
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from engine_kit import Here
from made_modules import make_engine, remove_module, save_made

TEXT = """\
name: small
backbone: {backbone}
data: sample
sources: zoo
zoo: {zoo}
intermediate: [squad, mnli]
targets: [xnli, udpos]
arms:
  - alone
  - {{arm: singles, seeds: {{target: [0]}}, further: {{best: 1, target: [1]}}}}
  - {{arm: uniform, seeds: {{target: [0]}}}}
seeds: {{target: [0, 1]}}
langs: [en, de]
budget: {{steps: 2, train_rows: 8}}
rates: [3.0e-3]
dev_items: 12
test_items: 4
precision: fp32
contrasts:
  - {{name: one or all, first: singles, second: uniform, primary: true}}
"""
Planned = Callable[..., Plan]
MADE: tuple[tuple[str, HeadKind], ...] = (("squad", "span"), ("mnli", "classification"))


def _run(name: str) -> str:
    return name.encode().hex().zfill(16)


@pytest.fixture
def zoo(tiny_xlmr: Path, tmp_path: Path) -> Path:
    engine, folder = make_engine(str(tiny_xlmr)), tmp_path / "zoo" / "tiny"
    for name, head in MADE:
        save_made(
            engine, name, "bottleneck", head, folder / name, run=name.encode().hex().zfill(16)
        )
        remove_module(engine, name)
    return folder


@pytest.fixture
def planned(tiny_xlmr: Path, zoo: Path, tmp_path: Path) -> Planned:
    def plan(old: str = "", new: str = "") -> Plan:
        file = tmp_path / "small.yaml"
        text = TEXT.format(backbone=tiny_xlmr, zoo=zoo)
        assert old in text
        file.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return make_plan(load_study(file))

    return plan


def _seeds(plan: Plan, target: str, arm: str) -> list[tuple[tuple[str, ...], int | None]]:
    return [
        (run.intermediate, run.seed_target)
        for run in plan.runs.values()
        if (run.target, run.arm, run.stage) == (target, arm, "target")
    ]


def test_arms_have_seeds_of_their_own(planned: Planned) -> None:
    plan = planned()
    assert _seeds(plan, "udpos", "alone") == [((), 0), ((), 1)]
    assert _seeds(plan, "udpos", "uniform") == [(("squad", "mnli"), 0)]
    # The second seed is that of a single which is not known before the first ones are done.
    assert _seeds(plan, "udpos", "singles") == [(("squad",), 0), (("mnli",), 0), ((), 1)]


def _add_second_seed(zoo: Path) -> None:
    for name, _ in MADE:
        again = zoo / f"{name}-s1"
        shutil.copytree(zoo / name, again)
        record = json.loads((again / RECORD).read_text())
        record["recipe"]["seed"] = 1
        (again / RECORD).write_text(json.dumps(record))


def test_modules_of_a_second_seed_change_no_run_on_those_of_the_first(
    planned: Planned, zoo: Path
) -> None:
    before = planned()
    _add_second_seed(zoo)
    after = planned(
        "seeds: {target: [0]}, further", "seeds: {intermediate: [0, 1], target: [0]}, further"
    )
    assert set(before.runs) < set(after.runs)
    added = [run for name, run in after.runs.items() if name not in before.runs]
    assert {run.seed_intermediate for run in added if run.stage != "rate"} == {1}


def test_the_single_of_further_seeds_is_the_same_on_modules_of_every_seed(
    planned: Planned, zoo: Path, tmp_path: Path
) -> None:
    _add_second_seed(zoo)
    plan = planned(
        "seeds: {target: [0]}, further",
        "seeds: {intermediate: [0, 1], target: [0]}, further",
    )
    folder, known = StudyFolder(tmp_path / "out"), dict[str, RunResult]()
    singles = [run for run in plan.runs.values() if run.arm == "singles" and run.target == "xnli"]
    for run in singles:
        folder.write_run(run, plan.study.name)
        if run.stage == "target" and not run.among:
            # On the first seed squad leads, on the second mnli by more.
            first = run.seed_intermediate == 0
            score = {"squad": 60.0 if first else 10.0, "mnli": 50.0}[run.intermediate[0]]
            known[run.id] = RunResult(
                run=run.id, study="small", stage="target", arm="singles", method=run.method,
                dev_select=score,
            )  # fmt: skip
    chosen = [
        _Work(folder, "small", run, known, run.id)._best_single() for run in singles if run.among
    ]
    assert [(each.intermediate, each.seed_intermediate) for each in chosen] == [
        (("squad",), 0), (("squad",), 1)
    ]  # fmt: skip
    assert [each.seed_target for each in chosen] == [1, 1]
    assert chosen[1].on[0].endswith("squad-s1")


def test_primary_contrasts_come_first_target_by_target(planned: Planned) -> None:
    order = list(
        dict.fromkeys((run.target, run.arm) for run in planned().runs.values() if run.target)
    )
    assert order == [
        (target, arm)
        for arms in (("singles", "uniform"), ("alone",))
        for target in ("xnli", "udpos")
        for arm in arms
    ]


def test_modules_of_the_zoo_are_not_trained_and_their_weights_are_in_the_ids(
    planned: Planned, zoo: Path, tiny_xlmr: Path
) -> None:
    before = planned()
    assert not [run for run in before.runs.values() if run.stage == "intermediate"]
    engine = make_engine(str(tiny_xlmr))
    run = b"squad".hex().zfill(16)  # the same, so that the weights alone are others
    torch.manual_seed(1)
    save_made(engine, "other", "bottleneck", "span", zoo / "squad", run=run, task="squad")
    after = planned()
    redone = {run.arm for name, run in before.runs.items() if name not in after.runs}
    kept = [run for name, run in before.runs.items() if name in after.runs]
    assert redone == {"singles", "uniform"}
    assert {run.arm for run in kept} == {"singles", "alone"}
    assert all(run.intermediate in ((), ("mnli",)) for run in kept)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[squad, mnli]", "[squad, mnli, qqp]", ("'qqp'", "module: train")),
        ("[squad, mnli]", "[squad, {task: qqp, module: mnli}]", ("has learnt mnli, not qqp",)),
        ("[squad, mnli]", "[squad, {task: mnli, module: mnil}]", ("'mnil'",)),
        ("- alone", "- multitask", ("'multitask'", "{arm: multitask, module: train}")),
        ("sources: zoo", "sources: train", ("line 5", "sources: train")),
        ("singles, seeds: {target: [0]}", "singles", ("line 10", "seed 1")),
        ("best: 1", "best: 3", ("line 10", "best 3 of 2")),
        ("uniform, seeds", "uniform, module: x, seeds", ("line 11", "'uniform'")),
        ("target: [0, 1]", "target: [0, 0]", ("line 12", "twice")),
    ],
)
def test_what_cannot_be_is_named_in_one_line(
    planned: Planned, old: str, new: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        planned(old, new)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_source_can_be_trained_although_others_are_of_the_zoo(planned: Planned) -> None:
    plan = planned("[squad, mnli]", "[squad, {task: mnli, module: train}]")
    trained = [run.intermediate for run in plan.runs.values() if run.stage == "intermediate"]
    assert trained == [("mnli",)]


def test_the_control_for_quantity_has_the_steps_of_the_longest_module(
    planned: Planned, zoo: Path
) -> None:
    record = zoo / "squad" / RECORD
    about = json.loads(record.read_text())
    record.write_text(json.dumps({**about, "steps": 70, "planned_steps": 70}))
    for line, steps in (("alone-longer", 72), ("{arm: alone-longer, longer_by: 5}", 7)):
        runs = planned("  - alone\n", f"  - alone\n  - {line}\n").runs.values()
        assert {run.does["steps"] for run in runs if run.arm == "alone-longer"} == {steps}
    with pytest.raises(UserError, match="longer_by"):
        planned("  - alone\n", "  - {arm: alone, longer_by: 5}\n")


def test_modules_of_another_backbone_or_without_finite_weights_are_refused(
    planned: Planned, zoo: Path
) -> None:
    from safetensors.torch import load_file, save_file

    record = ModuleRecord.read(zoo / "mnli")
    place = zoo / "mnli" / "module.json"
    fields = json.loads(place.read_text(encoding="utf-8"))
    fields["backbone"]["fingerprint"] = "f" * 16
    place.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(UserError, match="another backbone"):
        planned()
    weights = load_file(zoo / "mnli" / "adapter.safetensors")
    first = next(iter(weights))
    weights[first] = torch.full_like(weights[first], float("nan"))
    save_file(weights, zoo / "mnli" / "adapter.safetensors")
    record.write(zoo / "mnli")
    with pytest.raises(UserError, match="not finite"):
        planned()


def test_a_language_that_no_target_has_is_named(planned: Planned) -> None:
    assert not planned("[en, de]", "[en, deu]").absent
    with pytest.raises(UserError, match=r"line 13: .*'dee'.*did you mean 'de'\?$"):
        planned("[en, de]", "[en, de, dee]")


@pytest.mark.whole
def test_what_another_version_left_half_done_is_begun_anew(
    planned: Planned, zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unfinished training of other settings, a damaged note of one, a module of another run."""
    plan, folder = planned(), StudyFolder(tmp_path / "out")
    folder.write_plan(plan)
    rates = [run for run in plan.runs.values() if run.stage == "rate" and run.target == "xnli"]
    remains = {run.id: folder.module(run.id) for run in rates[:3]}
    half, damaged, whole = remains.values()
    for place, note in ((half, '{"run": "0123456789abcdef", "settings": {}}'), (damaged, "{")):
        checkpoint = place.with_name("module.unfinished") / "checkpoint-1"
        checkpoint.mkdir(parents=True)
        (checkpoint.parent / "run.json").write_text(note)
    shutil.copytree(zoo / "mnli", whole)
    for run in rates[:3]:
        folder.write_run(run, plan.study.name)
        assert work(folder, run.id).train_seconds
        assert ModuleRecord.read(remains[run.id]).task == "xnli"
        assert "begun anew" in capsys.readouterr().err


@pytest.mark.whole
def test_a_study_on_a_zoo_is_done_and_the_best_single_gets_its_seeds(
    planned: Planned, tmp_path: Path
) -> None:
    plan, folder = planned(), StudyFolder(tmp_path / "out")
    said: list[str] = []
    assert run_study(plan, folder, Here(folder), said.append).done == set(plan.runs)
    done = folder.results().runs
    for target in ("xnli", "udpos"):
        singles = [each for each in done.values() if each.arm == "singles" and each.scores]
        of_it = [each for each in singles if each.target == target]
        first = {
            each.intermediate: each.dev_select or 0.0 for each in of_it if not each.seed_target
        }
        (further,) = [each for each in of_it if each.seed_target == 1]
        assert first[further.intermediate] == max(first.values())
        assert set(further.scores[target]) == {"en", "de"}
        known = plan.runs[further.run]
        assert f"number {known.does['rank'] + 1}" in describe(known)
