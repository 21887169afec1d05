"""Reads a study's file, and checks it against the tasks, methods and languages that there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from adapter_stilts.backbones.backbone import EMBEDDED, find_backbone
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.paths import is_folder
from adapter_stilts.study.plan import variants
from adapter_stilts.study.spec import LONGER, TRAIN, ArmKind, ArmPart, StudySpec, TargetPart
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


def _layers(backbone: str) -> float:
    """How many layers a backbone on this disk has; one on the Hub is not fetched for that."""
    if backbone != EMBEDDED and not is_folder(Path(backbone).expanduser()):
        return math.inf
    return float(find_backbone(backbone).fields["num_hidden_layers"])


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
        if (target.layer or 0) > (layers := _layers(spec.backbone)):
            wrong = f"there is no layer {target.layer}: '{spec.backbone}' has {layers:.0f}"
            raise lines.bad(["targets", k, "layer"], wrong)
        for j, test in enumerate(target.also):
            with _at(lines, "targets", k, "also", j):
                get_target(test.task)
            tests = [(each.task, each.split) for each in (target, *target.also[:j])]
            if (test.task, test.split) in tests:
                wrong = f"it is tested on {test.task}, {test.split}, already"
                raise lines.bad(["targets", k, "also", j], wrong)
        _check_training(target, lines, k)
    _check_distinct(lines, "intermediate", [each.task for each in spec.intermediate])
    _check_distinct(lines, "targets", [each.task for each in spec.targets])
    if spec.zoo is not None and spec.sources == TRAIN:
        raise lines.bad(["zoo"], "a zoo, but 'sources: train': leave one of them out")


def _check_training(part: TargetPart, lines: Lines, k: int) -> None:
    """What is said of a target's training must be true of it."""
    target = get_target(part.task)
    if not target.training:
        for key in ("train_rows", "choose_on"):
            if key in part.model_fields_set:
                wrong = f"{part.task} has no training data, so '{key}' says nothing: leave it out"
                raise lines.bad(["targets", k, key], wrong)
        return
    chosen_on = {each.name for each in target.trained_in("en")[-1].sources if each.has("dev")}
    for j, test in enumerate((part, *part.also)):
        tested_on = {each.name for each in get_target(test.task).sources if each.has("dev")}
        if test.split == "dev" and chosen_on & tested_on and part.choose_on != "train":
            wrong = (
                f"{test.task} is tested on its dev set, so that set must not choose rates and "
                "arms: write 'choose_on: train', or 'split: test'"
            )
            raise lines.bad(["targets", k, *(("also", j - 1) if j else ("split",))], wrong)


def _check_distinct(lines: Lines, key: str, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise lines.bad([key, k], f"'{name}' is given twice")


def _check_methods(spec: StudySpec, lines: Lines) -> None:
    for k, method in enumerate(spec.methods):
        with _at(lines, "methods", k):
            if is_fusion(get_method(method).name):
                raise UserError(f"'{method}' is a fusion: name it in arms")
    _check_distinct(lines, "methods", spec.methods)


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
    _check_distinct(lines, "langs", [code.strip() for code in written])
    for k, code in enumerate(spec.source_langs):
        with _at(lines, "source_langs", k):
            for part in spec.targets:
                if (target := get_target(part.task)).training:
                    target.trained_in(code)
    _check_distinct(lines, "source_langs", spec.source_langs)
    _check_distinct(lines, "below", spec.below)
    for k, module in enumerate(spec.below):
        with _at(lines, "below", k):
            _check_below(module)


def _check_below(module: str) -> None:
    if module in ("none", "lang:*") or is_folder(Path(module).expanduser()):
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
        if each.longer_by is not None and each.arm != LONGER:
            raise lines.bad(["arms", k, "longer_by"], f"'longer_by' is for the arm '{LONGER}'")
        if each.seeds and each.seeds.intermediate and each.arm in ("alone", LONGER):
            wrong = f"'{each.arm}' stands on no intermediate module, so it has no seeds of one"
            raise lines.bad(["arms", k, "seeds"], wrong)
        if not _targets_of(spec, each):
            raise lines.bad(["arms", k], f"'{each.arm}' has no run in this study: {_why(each.arm)}")
        with _at(lines, "arms", k, "further"):
            _check_further(spec, each)


def _targets_of(spec: StudySpec, arm: ArmPart) -> set[str]:
    """The targets on which an arm has runs."""
    tasks = tuple(get_task(part.task).name for part in spec.intermediate)
    return {
        part.task
        for part in spec.targets
        if any(list(variants(tasks, method, part, arm)) for method in spec.methods)
    }


def _why(arm: ArmKind) -> str:
    if arm == "arrow":
        return "it chooses among LoRAs, so add lora to 'methods'"
    if arm == "as-is":
        return "the head of no intermediate task fits a target, so leave the arm out"
    if arm == LONGER:
        return "no target has training data, so leave the arm out"
    return "it needs two intermediate tasks or more, and most arms a target with training data"


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
    targets = {arm.arm: _targets_of(spec, arm) for arm in spec.arms}
    for k, each in enumerate(spec.contrasts):
        kinds = []
        for side, name in (("first", each.first), ("second", each.second)):
            kind = spec.kind_of(name)
            if kind is None:
                missing = unknown("arm of this study", name, spec.arm_names)
                raise lines.bad(["contrasts", k, side], missing)
            kinds.append(kind)
        if each.first == each.second:
            wrong = f"'{each.first}' is compared with itself: name two arms"
            raise lines.bad(["contrasts", k, "second"], wrong)
        if not targets[kinds[0]] & targets[kinds[1]]:
            wrong = f"no target has runs of both '{each.first}' and '{each.second}'"
            raise lines.bad(["contrasts", k], wrong)
