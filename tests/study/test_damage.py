"""Finished runs whose files are damaged or gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import engine_study_kit
from adapter_stilts.errors import UserError
from adapter_stilts.study.folder import SELECT, StudyFolder, append_result, drop_results
from adapter_stilts.study.graph import Plan, Run, RunResult
from adapter_stilts.study.outlook import look_ahead
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.run import find_damaged, forget, run_study
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.work import OF_RUN
from engine_kit import Here, Nothing
from engine_study_kit import plan_of, scores
from made_modules import make_engine, save_made
from study_kit import write_run

TEXT = """\
name: small
backbone: {backbone}
data: sample
intermediate: [squad]
targets: [xnli]
arms: [singles]
langs: [{langs}]
budget: {{steps: 2}}
rates: [3.0e-3]
"""


@pytest.fixture
def plan(tiny_xlmr: Path, tmp_path: Path) -> Plan:
    file = tmp_path / "small.yaml"
    text = TEXT.format(backbone=tiny_xlmr, langs="en, de, sw, zh")
    file.write_text(text, encoding="utf-8")
    return make_plan(load_study(file))


@pytest.fixture
def folder(plan: Plan, tiny_xlmr: Path, tmp_path: Path) -> StudyFolder:
    """The module is trained, and so is the rate; the target's run is left."""
    made = StudyFolder(tmp_path / "out")
    engine = make_engine(str(tiny_xlmr))
    for run in (_run(plan, "intermediate"), _run(plan, "rate")):
        save_made(engine, f"m{run.id}", "bottleneck", "span", made.module(run.id))
        _record(made, run)
    return made


def _run(plan: Plan, stage: str) -> Run:
    return next(run for run in plan.runs.values() if run.stage == stage)


def _record(folder: StudyFolder, run: Run, **more: object) -> None:
    fields = {name: getattr(run, name) for name in OF_RUN}
    rate = 3e-3 if run.stage in ("rate", "target") else 0.0
    fields |= {"run": run.id, "study": "small", "lr": rate}
    append_result(
        folder.results_file, RunResult.model_validate_json(json.dumps({**fields, **more}))
    )


def test_whole_modules_are_no_damage(plan: Plan, folder: StudyFolder) -> None:
    assert find_damaged(plan, folder) == {}
    # Without its module a rate still says how good it is; a source is needed.
    shutil.rmtree(folder.module(_run(plan, "rate").id))
    assert find_damaged(plan, folder) == {}
    shutil.rmtree(folder.module(_run(plan, "intermediate").id))
    assert list(find_damaged(plan, folder)) == [_run(plan, "intermediate").id]


@pytest.mark.parametrize("stage", ["intermediate", "rate"])
def test_a_damaged_module_is_named_and_done_again(
    plan: Plan, folder: StudyFolder, stage: str
) -> None:
    run = _run(plan, stage)
    weights = folder.module(run.id) / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    said: list[str] = []
    engine = Nothing(folder, {name: [2, 2] for name in plan.runs})
    found = run_study(plan, folder, engine, said.append)
    assert any("done again" in line and str(weights) in line for line in said)
    assert engine.begun[0] == run.id
    assert run.id in found.failed  # this engine does nothing
    assert run.id not in folder.results().runs and not weights.exists()


def test_damaged_items_are_named_and_done_again(plan: Plan, tmp_path: Path) -> None:
    target, folder = _run(plan, "target"), StudyFolder(tmp_path / "out")
    write_run(folder.path, "alone", "xnli", 0, 0, 20)
    (made,) = folder.results().runs.values()
    _record(folder, target, items=made.items, scores=made.scores)
    assert find_damaged(plan, folder) == {}
    (place,) = folder.path.glob("items/*/xnli/test-de*")
    place.write_bytes(b"PAR1")
    assert str(place) in find_damaged(plan, folder)[target.id]
    shutil.rmtree(folder.path / "items")
    assert "no scores of single items" in find_damaged(plan, folder)[target.id]
    for field in ({"arm": "alone"}, {"stage": "rate"}, {"method": "lora"}, {"target": "xquad"}):
        _record(folder, target, **field)
        assert str(*field.values()) in find_damaged(plan, folder)[target.id]
    _record(folder, target)
    assert "no scores" in find_damaged(plan, folder)[target.id]
    with folder.results_file.open("a", encoding="utf-8") as file:
        file.write('{"run": "half\n')
    forget(folder, {target.id: ""})
    assert set(folder.results().runs) == {made.run}
    assert len(folder.results().damaged) == 1


WRONG: dict[str, dict[str, object]] = {
    "of another target": {"scores": {"xcopa": {}}},
    "and of another target": {"scores": {"xnli": {"en": {"accuracy": 1.0}}, "xcopa": {}}},
    "no language": {"scores": {"xnli": {}}},
    "in a language that is not asked for": {"scores": {"xnli": {"fr": {"accuracy": 1.0}}}},
    "another metric": {"scores": {"xnli": {"en": {"f1": 1.0}}}},
    "further metrics of one language": {
        "scores": {"xnli": {"en": {"accuracy": 1.0}, "de": {"accuracy": 1.0, "f1": 1.0}}}
    },
    "other seeds": {"seed_intermediate": 1},
    "another target seed": {"seed_target": None},
    "another source": {"intermediate": ["mnli"]},
    "a rate that was not tried": {"lr": 3.0},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_record_that_cannot_be_of_its_run_is_named_and_done_again(
    plan: Plan, tmp_path: Path, kind: str
) -> None:
    target, folder = _run(plan, "target"), StudyFolder(tmp_path / "out")
    write_run(folder.path, "alone", "xnli", 0, 0, 20)
    (made,) = folder.results().runs.values()
    whole: dict[str, object] = {"items": made.items, "scores": made.scores}
    _record(folder, target, **whole)
    folder.write_plan(plan)
    planned, record = folder.planned()[target.id], folder.results().runs[target.id]
    assert find_damaged(plan, folder) == {} and not planned.differs(record)
    _record(folder, target, **{**whole, **WRONG[kind]})
    assert list(find_damaged(plan, folder)) == [target.id]
    # What is quick names it as well, and counts it as not done; so does a report, by the plan.
    assert look_ahead(plan, folder).done == 0
    assert list(folder.results(plan).wrong) == [target.id]
    assert planned.differs(folder.results().runs[target.id])
    said: list[str] = []
    run_study(plan, folder, Nothing(folder, {name: [2, 2] for name in plan.runs}), said.append)
    assert any("done again" in line and target.id[:8] in line for line in said)
    assert target.id not in folder.results().runs


def test_what_is_not_tested_has_no_scores(plan: Plan, folder: StudyFolder) -> None:
    rate = _run(plan, "rate")
    _record(folder, rate, scores={"xnli": {"en": {"accuracy": 1.0}}})
    assert list(find_damaged(plan, folder)) == [rate.id]
    _record(folder, rate, lr=1e-3)
    assert "0.001" in find_damaged(plan, folder)[rate.id]


def test_items_of_a_language_without_a_score_are_damage(plan: Plan, tmp_path: Path) -> None:
    """With nothing to compare them with, they would count unseen."""
    target, folder = _run(plan, "target"), StudyFolder(tmp_path / "out")
    write_run(folder.path, "alone", "xnli", 0, 0, 20)
    (made,) = folder.results().runs.values()
    scores = {"xnli": {k: v for k, v in made.scores["xnli"].items() if k != "sw"}}
    _record(folder, target, items=made.items, scores=scores)
    assert "test-sw" in find_damaged(plan, folder)[target.id]


def _kept(folder: StudyFolder, run: Run) -> Path:
    """The items of English dev that a tried rate has kept."""
    made = next(folder.path.glob("items/*/xnli/dev-en.select.items.parquet"))
    place = folder.dev(run.id) / SELECT
    place.parent.mkdir(parents=True)
    return shutil.copyfile(made, place)


def test_damaged_items_of_dev_are_done_again_with_what_made_them(
    plan: Plan, folder: StudyFolder
) -> None:
    """A run copies them from the tried rate's: these must be whole where it is done again."""
    rate, target = _run(plan, "rate"), _run(plan, "target")
    write_run(folder.path, "alone", "xnli", 0, 0, 20)
    made = next(each for each in folder.results().runs.values() if each.items)
    _record(folder, target, items=made.items, scores=made.scores, dev_select=made.dev_select)
    kept = _kept(folder, rate)
    kept.write_bytes(kept.read_bytes()[:-9])
    assert find_damaged(plan, folder) == {}  # no run is left that needs it
    _record(folder, rate, dev_select=made.dev_select)
    own = folder.path / made.items / "xnli" / f"dev-en.{SELECT}"
    whole = own.read_bytes()
    own.unlink()
    found = find_damaged(plan, folder)
    assert list(found) == [rate.id, target.id]
    assert str(kept) in found[rate.id] and str(own) in found[target.id]
    own.write_bytes(whole)
    shutil.copyfile(own, kept)
    assert list(find_damaged(plan, folder)) == []
    own.unlink()
    assert list(find_damaged(plan, folder)) == [target.id]
    _record(folder, rate, dev_select=12.5)  # whole items, and not those of this rate
    assert str(kept) in find_damaged(plan, folder)[rate.id]
    own.write_bytes(whole)
    shutil.rmtree(folder.module(_run(plan, "intermediate").id))
    (folder.path / made.items / "xnli" / "test-de.tsv.items.parquet").unlink()
    # What the runs that are done again stand on is done again, too.
    assert len(find_damaged(plan, folder)) == 3
    forget(folder, found)
    assert not kept.exists()


@pytest.mark.whole
@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("rate", "dev/*/evaluation.json"),
        ("rate", "dev/*/xcopa/dev-en.jsonl"),
        ("rate", "modules/*/module/module.json"),
        ("rate", "modules/*/module/adapter.safetensors"),
        ("rate", "modules/*/module.social-iqa/adapter_config.json"),
        ("target", "items/*/xcopa/evaluation.json"),
    ],
)
def test_what_a_run_without_record_left_damaged_is_made_anew(
    tiny_xlmr: Path, tmp_path: Path, make_once: Callable[..., Path], stage: str, place: str
) -> None:
    """As after a power cut: of a half-done run, files are empty."""
    plan = plan_of(engine_study_kit.write_study(tmp_path, tiny_xlmr))
    made = make_once(
        "done study", lambda folder: run_study(plan, StudyFolder(folder), Here(StudyFolder(folder)))
    )
    before = scores(StudyFolder(made))
    folder = StudyFolder(shutil.copytree(made, tmp_path / "out"))
    run = [each for each in plan.runs.values() if each.stage == stage][-1]
    drop_results(folder.results_file, {run.id})
    (damaged,) = folder.path.glob(place.replace("*", run.id))
    damaged.write_bytes(b"")
    found = run_study(plan, folder, Here(folder), lambda line: None)
    assert found.done == set(plan.runs) and scores(folder) == before


DAMAGE: dict[str, bytes | None] = {
    "empty": b"",
    "cut": b'{"runs": {"a": ["targ',
    "latin": b"\xff\xfe",
    "null": b"null",
    "list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "a text": b'{"study": "s", "run": "x", "runs": {"a": "abc"}}',
    "numbers": b'{"study": "s", "run": {"stage": 1}, "runs": {"a": [1, 2, 3]}}',
    "too many": b'{"study": "s", "run": {"on": 1}, "runs": {"a": ["a","b","c","d","e","f"]}}',
    "not finite": b'{"study": "s", "run": {"does": {"lr": NaN}}, "runs": {"a": [NaN, "b", "c"]}}',
    "folder": None,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_plan_or_run_is_named(tmp_path: Path, kind: str) -> None:
    folder, content = StudyFolder(tmp_path), DAMAGE[kind]
    for place in (tmp_path / "plan.json", tmp_path / "runs" / "a.json"):
        if content is None:
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
    with pytest.raises(UserError, match=r"plan\.json: (damaged|cannot be read).*study run"):
        folder.planned()
    with pytest.raises(UserError, match=r"a\.json: (damaged|cannot be read).*study run"):
        folder.read_run("a")


def test_a_run_that_was_changed_is_another(plan: Plan, tmp_path: Path) -> None:
    folder, run = StudyFolder(tmp_path), _run(plan, "rate")
    folder.write_run(run, "small")
    assert folder.read_run(run.id) == ("small", run)
    place = tmp_path / "runs" / f"{run.id}.json"
    text = place.read_text(encoding="utf-8")
    for changed in (text.replace('"steps": 2', '"steps": 3'), text.replace('"backbone"', '"b"')):
        place.write_text(changed, encoding="utf-8")
        with pytest.raises(UserError, match="another run"):
            folder.read_run(run.id)


STATES = (
    b"", b"null", b"[" * 100_000, b'{"step": "x", "steps": [], "per_second": "fast"}',
    b'{"step": 1, "steps": 2, "per_second": NaN}', b'{"pid": 5, "per_second": {}}',
    b'{"pid": [], "host": "\x1b[31m", "since": 5}', b'{"step": 1e999}', b"\xff",
)  # fmt: skip


@pytest.mark.parametrize("content", STATES)
def test_what_runs_is_told_although_its_state_is_damaged(tmp_path: Path, content: bytes) -> None:
    folder = StudyFolder(tmp_path)
    with folder.holding(), folder.working("a"):
        for name in ("holder", "run-a", "steps-a"):
            (tmp_path / "state" / f"{name}.json").write_bytes(content)
        unknown = {"pid": "?", "host": "?"}
        assert folder.running() == {"a": unknown} and folder.holder() == unknown
        folder.write_steps("a", 3, 9, 1.5)
        assert folder.running()["a"]["per_second"] == 1.5


def test_a_lock_that_is_a_folder_is_named(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    (tmp_path / "state" / "holder.lock").mkdir(parents=True)
    (tmp_path / "state" / "holder.json").write_text("{}")
    with pytest.raises(UserError, match=r"holder\.lock: no lock"):
        folder.holder()
    with pytest.raises(UserError, match=r"holder\.lock: no lock"), folder.holding():
        pass


def test_an_evaluation_that_was_cut_off_begins_anew(tiny_xlmr: Path, tmp_path: Path) -> None:
    text = TEXT.replace("[xnli]", "[xquad]").replace("[singles]", "[as-is]")
    file = tmp_path / "small.yaml"
    file.write_text(
        text.format(backbone=tiny_xlmr, langs="en") + "test_items: 2\n", encoding="utf-8"
    )
    plan, folder = make_plan(load_study(file)), StudyFolder(tmp_path / "out")
    source, asked = _run(plan, "intermediate"), _run(plan, "composition")
    made = make_engine(str(tiny_xlmr))
    save_made(made, f"m{source.id}", "bottleneck", "span", folder.module(source.id))
    _record(folder, source)
    half = folder.path / "items" / asked.id / "xquad" / "test-en.json.items.parquet"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1")
    found = run_study(plan, folder, Here(folder), lambda line: None)
    assert (found.done, found.failed) == (set(plan.runs), set())
    assert set(folder.results().runs[asked.id].scores["xquad"]) == {"en"}
    assert find_damaged(plan, folder) == {}
