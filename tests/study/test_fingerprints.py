"""What is planned anew where the bytes of data or of a backbone change, and what is not."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.study import work
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.run import run_study
from adapter_stilts.study.spec_file import load_study
from engine_kit import Nothing

TEXT = """\
name: small
backbone: {backbone}
intermediate: [squad, ccg]
targets: [xnli, xquad]
arms: [alone, singles]
langs: [en, de]
budget: {{steps: 2}}
rates: [3.0e-3]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    shutil.copytree(Path(str(files("adapter_stilts"))) / "data" / "samples", folder)
    return folder


def _plan(tmp_path: Path, backbone: Path, data: Path) -> Plan:
    file = tmp_path / "small.yaml"
    file.write_text(TEXT.format(backbone=backbone), encoding="utf-8")
    return make_plan(load_study(file), str(data))


def _change(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"the", b"teh", 1))
    assert path.read_bytes() != content


def _redone(before: Plan, after: Plan) -> set[tuple[str, str, tuple[str, ...]]]:
    gone = [run for name, run in before.runs.items() if name not in after.runs]
    return {(run.stage, run.target, run.intermediate) for run in gone}


def test_a_change_of_data_redoes_what_reads_it(tmp_path: Path, tiny_xlmr: Path, data: Path) -> None:
    before = _plan(tmp_path, tiny_xlmr, data)
    assert not before.absent
    _change(data / "squad" / "train-v1.1.json")
    after = _plan(tmp_path, tiny_xlmr, data)
    # Read by the module of squad, and by all trainings for xquad, which learn from the same file.
    on_squad = {(stage, "xnli", ("squad",)) for stage in ("rate", "target")}
    on_xquad = {
        (stage, "xquad", tasks)
        for stage in ("rate", "target")
        for tasks in ((), ("squad",), ("ccg",))
    }
    assert _redone(before, after) == {("intermediate", "", ("squad",))} | on_squad | on_xquad


def test_a_change_of_tests_redoes_no_training(tmp_path: Path, tiny_xlmr: Path, data: Path) -> None:
    before = _plan(tmp_path, tiny_xlmr, data)
    _change(data / "xnli" / "test-en.tsv")
    redone = _redone(before, _plan(tmp_path, tiny_xlmr, data))
    assert redone == {("target", "xnli", tasks) for tasks in ((), ("squad",), ("ccg",))}


def test_a_change_of_the_backbone_redoes_all(tmp_path: Path, tiny_xlmr: Path, data: Path) -> None:
    backbone = tmp_path / "backbone"
    shutil.copytree(tiny_xlmr, backbone)
    before = _plan(tmp_path, backbone, data)
    # Only where it lies is another place.
    moved = tmp_path / "moved"
    shutil.copytree(backbone, moved)
    assert _plan(tmp_path, moved, data).runs.keys() == before.runs.keys()
    weights = bytearray((backbone / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (backbone / "model.safetensors").write_bytes(bytes(weights))
    assert not _plan(tmp_path, backbone, data).runs.keys() & before.runs.keys()


def test_data_in_another_place_are_the_same(tmp_path: Path, tiny_xlmr: Path, data: Path) -> None:
    before = _plan(tmp_path, tiny_xlmr, data)
    moved = data.rename(tmp_path / "moved")
    assert _plan(tmp_path, tiny_xlmr, moved).runs.keys() == before.runs.keys()


def test_what_is_not_here_is_named_before_the_work(
    tmp_path: Path, tiny_xlmr: Path, data: Path
) -> None:
    shutil.rmtree(data / "ccg")
    plan, folder = _plan(tmp_path, tiny_xlmr, data), StudyFolder(tmp_path / "out")
    assert list(plan.absent) == ["data of ccg"]
    with pytest.raises(UserError, match="data of ccg"):
        run_study(plan, folder, Nothing(folder), print)


@pytest.mark.parametrize("name", ["embeded", "Embedded", "embbeded"])
def test_a_mistyped_backbone_is_named_before_the_work(
    tmp_path: Path, data: Path, name: str
) -> None:
    with pytest.raises(UserError, match=r"line \d+: .*did you mean 'embedded'"):
        _plan(tmp_path, Path(name), data)


def test_data_that_change_after_the_plan_are_not_learnt_from(
    tmp_path: Path, tiny_xlmr: Path, data: Path
) -> None:
    plan, folder = _plan(tmp_path, tiny_xlmr, data), StudyFolder(tmp_path / "out")
    run = next(run for run in plan.runs.values() if run.arm == "squad")
    folder.write_run(run, "small")
    _change(data / "squad" / "train-v1.1.json")
    with pytest.raises(UserError, match=r"data of squad.*changed"):
        work.work(folder, run.id)


def test_language_modules_are_part_of_what_stands_on_them(
    with_languages: Path, tiny_xlmr: Path
) -> None:
    text = TEXT.replace("[xnli, xquad]", "[xnli]").replace("[en, de]", "[en, sw]")
    file = with_languages / "small.yaml"

    def planned(below: str) -> Plan:
        written = text.format(backbone=tiny_xlmr)
        file.write_text(f"{written}below: ['{below}']\n", encoding="utf-8")
        return make_plan(load_study(file), "sample")

    assert list(planned("lang:th").absent) == ["module lang:th"]
    english, every = planned("lang:en"), planned("lang:*")
    assert not english.absent
    assert not every.absent
    shutil.rmtree(with_languages / "zoo-of-languages" / "tiny" / "lang-sw")
    assert planned("lang:en").runs.keys() == english.runs.keys()
    # The training stands on the English one; the test in Swahili had its own.
    assert {stage for stage, _, _ in _redone(every, planned("lang:*"))} == {"target"}
