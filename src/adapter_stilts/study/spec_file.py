"""Reads a study's file, and checks it against the tasks, methods and languages that there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.study.spec import TRAIN, ArmPart, StudySpec
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.yaml_files import Lines, read_yaml, validate


def template() -> str:
    """A commented study file to start from."""
    return files("adapter_stilts.study").joinpath("template.yaml").read_text(encoding="utf-8")


def load_study(path: Path, *, unequal: bool = False) -> StudySpec:
    """Reads a study file.

    Raises:
        UserError: it is no YAML, or has an unknown key, task, language or method, named with its
            line and what is near; or arms of unequal budgets, unless `unequal`.
    """
    if not path.is_file():
        raise UserError(f"study {path} is not there: `adstilts study new {path}` writes one")
    fields, lines = read_yaml(path, "backbone: embedded")
    spec = validate(StudySpec, fields, lines)
    _check_tasks(spec, lines)
    _check_methods(spec, lines)
    _check_languages(spec, lines)
    _check_arms(spec, lines, unequal=unequal)
    _check_contrasts(spec, lines)
    return spec


@contextmanager
def _at(lines: Lines, *keys: str | int) -> Iterator[None]:
    """What is wrong with a name is told with its line."""
    try:
        yield
    except UserError as error:
        raise lines.bad(keys, error) from None


def _check_tasks(spec: StudySpec, lines: Lines) -> None:
    for k, source in enumerate(spec.intermediate):
        with _at(lines, "intermediate", k):
            get_task(source.task)
    for k, target in enumerate(spec.targets):
        with _at(lines, "targets", k):
            searches = get_target(target.task).retrieval is not None
        if target.layer is not None and not searches:
            wrong = f"{target.task} has a head, so no layer is chosen for it: leave 'layer' out"
            raise lines.bad(["targets", k, "layer"], wrong)
        for j, test in enumerate(target.also):
            with _at(lines, "targets", k, "also", j):
                get_target(test.task)
            tests = [(each.task, each.split) for each in (target, *target.also[:j])]
            if (test.task, test.split) in tests:
                wrong = f"it is tested on {test.task}, {test.split}, already"
                raise lines.bad(["targets", k, "also", j], wrong)
    _check_distinct(lines, "intermediate", [each.task for each in spec.intermediate])
    _check_distinct(lines, "targets", [each.task for each in spec.targets])
    if spec.zoo is not None and spec.sources == TRAIN:
        raise lines.bad(["zoo"], "a zoo, but 'sources: train': leave one of them out")


def _check_distinct(lines: Lines, key: str, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise lines.bad([key, k], f"'{name}' is given twice")


def _check_methods(spec: StudySpec, lines: Lines) -> None:
    for k, method in enumerate(spec.methods):
        with _at(lines, "methods", k):
            if is_fusion(get_method(method).name):
                raise UserError(f"'{method}' is a fusion: name it in arms")


def _check_languages(spec: StudySpec, lines: Lines) -> None:
    tested = [get_target(each.task) for part in spec.targets for each in (part, *part.also)]
    known = tuple(
        dict.fromkeys(code for each in tested for code in (*each.languages, *each.others))
    )
    written = spec.langs.split(",") if isinstance(spec.langs, str) else spec.langs
    for k, code in enumerate(written):
        if code.strip() not in ("all", "xtreme", "xtreme-r"):
            with _at(lines, "langs", k):
                check_language(code.strip(), tuple(known))
    _check_distinct(lines, "source_langs", spec.source_langs)
    _check_distinct(lines, "below", spec.below)
    for k, module in enumerate(spec.below):
        with _at(lines, "below", k):
            _check_below(module)


def _check_below(module: str) -> None:
    if module in ("none", "lang:*") or Path(module).expanduser().is_dir():
        return
    if not module.startswith("lang:"):
        raise UserError(f"'{module}' is no module of a language: none, lang:sw or lang:* is")
    check_language(module.removeprefix("lang:"), ())


def _check_arms(spec: StudySpec, lines: Lines, *, unequal: bool) -> None:
    _check_distinct(lines, "arms", [each.arm for each in spec.arms])
    for k, each in enumerate(spec.arms):
        if each.unequal and not unequal:
            raise lines.bad(
                ["arms", k],
                f"'{each.arm}' has a budget of its own, so arms would not be comparable: leave it "
                "out, or say --unequal, and every table marks it",
            )
        if each.module is not None and each.arm != "multitask":
            wrong = f"'{each.arm}' has no module of its own: name it in 'intermediate', as a task's"
            raise lines.bad(["arms", k, "module"], wrong)
        if each.arm == "multitask" and len(spec.intermediate) < 2:
            raise lines.bad(["arms"], "several tasks at once need two intermediate tasks")
        with _at(lines, "arms", k, "further"):
            _check_further(spec, each)


def _check_further(spec: StudySpec, arm: ArmPart) -> None:
    if arm.further is None:
        return
    if arm.arm != "singles":
        raise UserError("'further' is for the arm 'singles': give others their 'seeds'")
    if arm.further.best > len(spec.intermediate):
        tasks = len(spec.intermediate)
        raise UserError(f"the best {arm.further.best} of {tasks} intermediate tasks")
    if twice := set(arm.further.target) & set(spec.seeds.of(arm).target):
        raise UserError(f"all singles have the seed {min(twice)} already: name others")


def _check_contrasts(spec: StudySpec, lines: Lines) -> None:
    _check_distinct(lines, "contrasts", [each.name for each in spec.contrasts])
    for k, each in enumerate(spec.contrasts):
        for side, name in (("first", each.first), ("second", each.second)):
            if spec.kind_of(name) is None:
                wrong = unknown("arm of this study", name, spec.arm_names)
                raise lines.bad(["contrasts", k, side], wrong)
