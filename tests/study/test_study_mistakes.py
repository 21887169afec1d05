"""What is wrong in a study's file is refused by `plan` in one line that names the place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter_stilts.errors import UserError
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.spec import StudySpec, _Part
from adapter_stilts.study.spec_file import load_study
from adapter_stilts.study.work import _Work
from cli_kit import assert_one_line, call_cli
from made_modules import make_engine, save_made

TEXT = """\
name: small
backbone: tiny
data: sample
sources: train
intermediate: [squad, {task: mnli, module: train}]
targets:
  - {task: xnli, split: test, items: 10, train_rows: 40, choose_on: dev}
  - {task: xquad, also: [{task: mlqa, split: dev, items: 5}], choose_on: train}
  - {task: tatoeba, layer: 1}
arms:
  - alone
  - {arm: alone-longer, longer_by: 5}
  - {arm: singles, seeds: {intermediate: [0], target: [0]}, further: {best: 1, target: [1]}}
  - {arm: multitask, module: train}
methods: [bottleneck]
langs: [en, de]
source_langs: [en]
below: [none]
budget: {steps: 3, train_rows: 40, intermediate_steps: 2, intermediate_rows: 20}
rates: [1.0e-3, 3.0e-3]
seeds: {intermediate: [0], target: [0]}
dev_items: 20
test_items: 10
head: warm
precision: auto
batch_tokens: 512
contrasts: [{name: a, first: singles, second: alone, primary: true}]
"""
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one in C is faster, and not in every build."""
WRONG: tuple[Any, ...] = ({"zzz": 1}, [[None]], [], float("nan"), -1, "\x1b[2J", "x" * 4999)


def _plan(tmp_path: Path, text: str) -> dict[str, str]:
    """What is absent of the study."""
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return make_plan(load_study(file)).absent


def _refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        _plan(tmp_path, text)
    return str(caught.value)


def _places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if place:
        yield place
    below: Any = value.items() if isinstance(value, dict) else ()
    for key, each in enumerate(value) if isinstance(value, list) else below:
        yield from _places(each, (*place, key))


def _changed(place: tuple[str | int, ...], new: Any) -> str:
    part = study = copy.deepcopy(STUDY)
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = copy.deepcopy(new)
    return yaml.dump(study, Dumper=DUMPER, sort_keys=False)


STUDY = yaml.safe_load(TEXT)
PLACES = tuple(_places(STUDY))
KEYS = sorted({str(place[0]) for place in PLACES})


def test_every_key_is_tried() -> None:
    parts = [_Part]
    for each in parts:
        parts += each.__subclasses__()
    tried = {key for place in PLACES for key in place if isinstance(key, str)}
    assert {key for part in parts for key in part.model_fields} - tried == {
        "zoo", "steps", "intermediate_lr"  # of an arm; not with `sources: train`; a rate
    } - tried  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_another_kind_is_named_with_its_line(key: str, tmp_path: Path) -> None:
    assert _plan(tmp_path, TEXT) == {}
    accepted = {("also", "[]"), ("contrasts", "[]")}
    for place in (each for each in PLACES if each[0] == key):
        for new in WRONG:
            if (place[-1], repr(new)) in accepted:
                continue
            try:
                said = _refusal(tmp_path, _changed(place, new))
            except pytest.fail.Exception:
                raise AssertionError(f"{place} = {new!r:.40} is accepted") from None
            assert re.match(r"\S*study\.yaml, line \d+: ", said), (place, new, said)
            assert "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        # languages
        ("[en, de]", "[en, dev]", 16, ("'dev'", "did you mean 'de'")),
        ("[en, de]", "[dev]", 16, ("'dev'", "did you mean 'de'")),
        ("[en, de]", "en,dev", 16, ("'dev'", "did you mean 'de'")),
        ("[en, de]", "[en, no]", 16, ("'no'", "no target")),
        ("[en, de]", "[en, true]", 16, ("langs.1", "True", "quotes")),
        ("[en, de]", "[en]", 9, ("tatoeba", "langs")),
        ("[en, de]", "[en, he, iw]", 16, ("'he'", "twice")),
        ("[en, de]", "{}", 16, ("text", "list")),
        ("source_langs: [en]", "source_langs: [EN]", 17, ("'EN'", "'en'")),
        ("source_langs: [en]", "source_langs: [de]", 17, ("xquad", "'de'")),
        ("below: [none]", "below: [nome]", 18, ("nome", "'none'")),
        ("below: [none]", "below: [none, 'lang:sw', 'lang:SW']", 18, ("lang:sw", "twice")),
        ("below: [none]", "below: [none, tests]", 18, ("tests",)),
        ("below: [none]", "below: ['lang:sw']", 9, ("tatoeba", "add none")),
        # names
        ("backbone: tiny", "backbone: embeded", 2, ("embeded", "'embedded'")),
        ("backbone: tiny", "backbone: xlm-roberta-lage", 2, ("'xlm-roberta-large'",)),
        ("backbone: tiny", "backbone: 'no id'", 2, ("no id", "Hub id")),
        ("backbone: tiny", "backbone: tests", 2, ("config.json",)),
        ("data: sample", "data: smaple", 3, ("smaple", "'sample'")),
        ("sources: train", "zoo: /not/there", 4, ("/not/there",)),
        ("[squad,", "[squad, SQuAD,", 5, ("'squad'", "twice")),
        ("module: train}]\ntar", "module: nowhere}]\ntar", 5, ("'nowhere'", "module: train")),
        ("{arm: multitask, module: train}", "{arm: multitask, module: no}", 14, ("module",)),
        ("[{task: mlqa, split: dev", "[{task: XQuAD, split: test", 8, ("xquad", "already")),
        ("{task: tatoeba,", "{task: tatoeba, split: dev,", 9, ("tatoeba", "split: test")),
        ("[bottleneck]", "[bottleneck, Bottleneck]", 15, ("bottleneck", "twice")),
        ("first: singles", "first: 'singles:sqad'", 27, ("singles:sqad", "'singles:squad'")),
        # what could not be done
        ("best: 1", "best: 3", 13, ("best 3", "2 intermediate")),
        ("further: {best: 1, target: [1]}", "further: {best: 1, target: [0]}", 13, ("seed 0",)),
        ("dev_items: 20", "dev_items: 1", 22, ("two halves",)),
        ("train_rows: 40, int", "int", 8, ("rows of train", "train_rows")),
        ("- alone\n", "- {arm: as-is, steps: 4}\n", 11, ("as-is", "steps")),
        ("rates: [1.0e-3, ", "rates: [1.0e-300, ", 20, ("1e-300",)),
        # YAML
        ("name: small", "name: &a small", 3, ("*a", "aliases")),
        ("name: small", "name: 010", 1, ("010", "quotes")),
        ("name: small", "name: small\n7: 8", 2, ("'7'",)),
        ("langs:", "lags:", 16, ("'lags'", "'langs'")),
    ],
)  # fmt: skip
def test_mistakes_are_refused_by_the_plan(
    old: str, new: str, line: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    text = TEXT.replace(old, new, 1)
    if "&a" in new:
        text = text.replace("data: sample", "data: *a")
    assert text != TEXT
    said = _refusal(tmp_path, text)
    assert f"study.yaml, line {line}: " in said, said
    for word in words:
        assert (word in said) or word == "*a", said


def test_a_module_of_a_task_is_no_language(tmp_path: Path, tiny_xlmr: Path) -> None:
    save_made(make_engine(str(tiny_xlmr)), "squad", "bottleneck", "span", tmp_path / "squad")
    said = _refusal(tmp_path, TEXT.replace("[none]", f"[none, '{tmp_path / 'squad'}']"))
    assert "line 18: " in said and "no module of a language" in said


def test_what_is_not_on_this_machine_is_told_with_its_line(tmp_path: Path) -> None:
    (told,) = _plan(tmp_path, TEXT.replace("backbone: tiny", "backbone: ./tiny")).values()
    assert told.endswith("study.yaml, line 2: backbone folder ./tiny is not there")
    absent = _plan(tmp_path, TEXT.replace("data: sample", "data: /not/there"))
    assert all("study.yaml, line 3: data folder '/not/there'" in each for each in absent.values())


ALL_ARMS = (
    "alone, alone-longer, singles, as-is, fusion-full, fusion-lean, multitask, merged, uniform"
)


@pytest.mark.parametrize(
    ("method", "arms"),
    [
        ("bottleneck", ALL_ARMS),
        ("double-bottleneck", ALL_ARMS),
        ("lora", f"{ALL_ARMS}, arrow"),
        ("lora-all", f"{ALL_ARMS}, arrow"),
        ("head", "alone, alone-longer, singles, as-is, multitask"),
        ("ia3", "alone, alone-longer, singles, as-is, multitask"),
        ("dora", "alone, alone-longer, as-is"),
        ("invertible", "alone, alone-longer, as-is"),
    ],
)
def test_an_arm_that_a_method_cannot_have_is_refused(
    method: str, arms: str, tmp_path: Path
) -> None:
    start = TEXT[: TEXT.index("targets:")].replace("sources: train\n", "")
    rest = f"methods: [{method}]\nbudget: {{steps: 3}}\nrates: [1.0e-3]\n"
    fit, file = arms.split(", "), tmp_path / "study.yaml"
    for arm in (*ALL_ARMS.split(", "), *(["arrow"] if "arrow" in arms else [])):
        text = f"{start}targets: [xnli]\narms: [{arm}]\n{rest}"
        if arm in fit:
            file.write_text(text, encoding="utf-8")
            assert load_study(file).methods == [method]
        else:
            said = _refusal(tmp_path, text)
            assert "line 6: " in said and f"'{arm}' cannot be of method {method}" in said


@pytest.mark.parametrize(
    ("arm", "method", "fits"),
    [
        ("singles", "bottleneck", True),
        ("uniform", "lora", True),
        ("merged", "bottleneck", True),
        ("fusion-full", "bottleneck", False),
        ("as-is", "bottleneck", False),
        ("alone", "invertible", False),
        ("alone", "parallel-bottleneck", False),
    ],
)
def test_arms_on_a_language_module(arm: str, method: str, fits: bool, tmp_path: Path) -> None:
    text = TEXT[: TEXT.index("targets:")]
    text += f"targets: [xnli]\narms: [{arm}]\nmethods: [{method}]\nbelow: [none, 'lang:sw']\n"
    text += "budget: {steps: 3}\nrates: [1.0e-3]\n"
    if fits:
        assert "module lang:sw" in _plan(tmp_path, text)
    else:
        said = _refusal(tmp_path, text)
        assert "line 7: " in said and f"'{arm}'" in said and "lang:sw" in said


def test_names_are_those_of_records_however_they_are_spelt(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    usual = TEXT.replace("first: singles", "first: 'singles:squad'")
    file.write_text(usual, encoding="utf-8")
    plan = make_plan(load_study(file))
    spelt = usual.replace("[squad,", "[SQuAD,").replace("task: xnli", "task: XNLI")
    spelt = spelt.replace("[bottleneck]", "[Bottleneck]").replace("task: mlqa", "task: MLQA")
    file.write_text(spelt, encoding="utf-8")
    assert make_plan(load_study(file)).runs == plan.runs


def test_the_sum_of_all_is_tested_on_every_language(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    text = TEXT.replace("  - {arm: multitask, module: train}", "  - uniform")
    text = text.replace("- {task: tatoeba, layer: 1}", "- xcopa").replace("[none]", "['lang:*']")
    text = text.replace("langs: [en, de]", "langs: [en]")
    file.write_text(text, encoding="utf-8")
    plan = make_plan(load_study(file))
    run = next(r for r in plan.runs.values() if (r.arm, r.stage) == ("uniform", "target"))
    from adapter_stilts.study.folder import StudyFolder

    work = _Work(StudyFolder(tmp_path), "small", run, {}, run.id)
    one, two = (f'"{StudyFolder(tmp_path).module(each)}"' for each in run.on)
    module = tmp_path / "m"
    assert work._tested_composition(module) == f'stack(lang:*, average({one}, {two}), "{module}")'


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(TEXT.replace("[en, de]", "[en, dev]"), encoding="utf-8")
    for command in ("plan", "run", "export", "status"):
        said = call_cli(monkeypatch, capsys, "study", command, str(file), "--out", str(tmp_path))
        assert_one_line(said, 2, "line 16", "'dev'", "did you mean 'de'?")


def test_a_study_knows_its_lines() -> None:
    made = StudySpec.model_validate({**yaml.safe_load(TEXT)})
    assert str(made.bad(["name"], "wrong")).endswith("wrong")
