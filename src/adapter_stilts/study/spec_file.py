"""Reads a study's file, and checks it against the tasks, methods and languages that there are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED, HUB_IDS, find_backbone
from adapter_stilts.engine.composition import module_names, parse
from adapter_stilts.engine.methods import (
    LANGUAGE_METHOD,
    check_methods,
    get_method,
    is_fusion,
)
from adapter_stilts.errors import UserError, counted, hint, unknown
from adapter_stilts.evaluation.data import SPLITS
from adapter_stilts.paths import is_folder
from adapter_stilts.study.plan import FUSIONS, SUMS, variants
from adapter_stilts.study.spec import GROUPS, LONGER, TRAIN, ArmKind, ArmPart, StudySpec, TargetPart
from adapter_stilts.tasks.languages import check_language, known_language
from adapter_stilts.tasks.registry import built_in, get_target, get_task
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.yaml_files import read_yaml, validate
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.record import ModuleRecord

LONGEST_ID = 96
"""Characters of an id on the Hub."""


def template() -> str:
    """A commented study file to start from."""
    return files("adapter_stilts.study").joinpath("template.yaml").read_text(encoding="utf-8")


def load_study(path: Path, *, unequal: bool = False) -> StudySpec:
    """Reads a study file.

    Raises:
        UserError: it is no YAML, or has an unknown key, task, language or method, named with its
            line and what is near; or arms of unequal budgets, unless `unequal`.
    """
    if path.is_dir():
        raise UserError(f"study {path} is a folder: name the YAML file itself")
    if not path.is_file():
        raise UserError(f"study {path} is not there: `adstilts study new {path}` writes one")
    fields, lines = read_yaml(path, "backbone: embedded")
    spec = validate(StudySpec, fields, lines).with_lines(lines)
    _check_backbone(spec)
    _check_tasks(spec)
    _check_methods(spec)
    spec = _as_called(spec)
    _check_languages(spec)
    _check_arms(spec, unequal=unequal)
    _check_arm_methods(spec)
    _check_contrasts(spec)
    return spec


def _check_backbone(spec: StudySpec) -> None:
    """Refuses a backbone, data and a zoo that cannot be meant.

    Data that is not here may be on the machine that does the study: a plan says so.
    """
    with spec.at("backbone"):
        if is_folder(Path(spec.backbone).expanduser()):
            find_backbone(spec.backbone)
        elif not spec.backbone.startswith((".", "/", "~")):
            _check_hub_id(spec.backbone)
    with spec.at("data"):
        near = hint(spec.data or "", ("hub", "sample"))
        if near and spec.data not in ("hub", "sample") and not is_folder(Path(str(spec.data))):
            raise UserError(f"no data '{spec.data}': {near}")
    with spec.at("zoo"):
        if spec.zoo is not None and spec.sources == TRAIN:
            raise UserError("a zoo, but 'sources: train': leave one of them out")
        if spec.zoo is not None and not is_folder(Path(spec.zoo).expanduser()):
            raise UserError(f"there is no folder {spec.zoo}, which would be the zoo")


def _check_hub_id(name: str) -> None:
    """Refuses what no backbone on the Hub is called, or nearly what a known one is."""
    repo, known = name.partition("@")[0], [EMBEDDED, *HUB_IDS]
    if repo in known:
        return
    if len(repo) > LONGEST_ID or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", repo, re.ASCII):
        raise UserError(f"'{name}' is no backbone: {EMBEDDED}, a folder and a Hub id are")
    # Others of the Hub are called much alike, so that only a slip of the pen is told.
    slip = get_close_matches(repo, list(HUB_IDS), n=1, cutoff=0.9)
    if meant := hint(name, [EMBEDDED]) or hint(name, slip):
        raise UserError(f"no backbone '{name}': {meant}")


def _layers(backbone: str) -> float:
    """How many layers a backbone on this disk has; one on the Hub is not fetched for that."""
    if backbone != EMBEDDED and not is_folder(Path(backbone).expanduser()):
        return math.inf
    return float(find_backbone(backbone).fields["num_hidden_layers"])


def _check_tasks(spec: StudySpec) -> None:
    for k, source in enumerate(spec.intermediate):
        with spec.at("intermediate", k):
            get_task(source.task)
    for k, target in enumerate(spec.targets):
        with spec.at("targets", k):
            searches = get_target(target.task).retrieval is not None
        if target.layer is not None and not searches:
            wrong = f"{target.task} has a head, so no layer is chosen for it: leave 'layer' out"
            raise spec.bad(["targets", k, "layer"], wrong)
        if (target.layer or 0) > (layers := _layers(spec.backbone)):
            wrong = f"there is no layer {target.layer}: '{spec.backbone}' has {layers:.0f}"
            raise spec.bad(["targets", k, "layer"], wrong)
        _check_tests(spec, k)
        _check_training(spec, k)
    _check_distinct(spec, "intermediate", spec.tasks)
    _check_distinct(spec, "targets", [get_target(each.task).name for each in spec.targets])


def _check_tests(spec: StudySpec, k: int) -> None:
    part = spec.targets[k]
    seen: set[tuple[str, str]] = set()
    for below, test in part.tests:
        keys = ["targets", k, *below]
        with spec.at(*keys):
            target = get_target(test.task)
            if (target.name, test.split) in seen:
                raise UserError(f"it is tested on {target.name}, {test.split}, already")
        seen.add((target.name, test.split))
        there = [each for each in SPLITS if any(source.has(each) for source in target.sources)]
        if test.split not in there:
            remedy = " or ".join(f"'split: {each}'" for each in there)
            wrong = f"{test.task} has no {test.split} data: write {remedy}"
            raise spec.bad([*keys, "split"], wrong)


def _check_training(spec: StudySpec, k: int) -> None:
    """What is said of a target's training must be true of it."""
    part = spec.targets[k]
    target = get_target(part.task)
    if not target.training:
        for key in ("train_rows", "choose_on"):
            if key in part.model_fields_set:
                wrong = f"{part.task} has no training data, so '{key}' says nothing: leave it out"
                raise spec.bad(["targets", k, key], wrong)
        return
    stage = target.trained_in(target.train_languages[0])[-1]
    chosen_on = {each.name for each in stage.sources if each.has("dev")}
    for below, test in part.tests:
        tested_on = {each.name for each in get_target(test.task).sources if each.has("dev")}
        if test.split == "dev" and chosen_on & tested_on and part.choose_on != "train":
            wrong = (
                f"{test.task} is tested on its dev set, so that set must not choose rates and "
                "arms: write 'choose_on: train', or 'split: test'"
            )
            raise spec.bad(["targets", k, *(below or ("split",))], wrong)
    if part.choose_on == "train":
        with spec.at("targets", k, "choose_on"):
            _check_rows_choose(spec, part, replace(target, metric=stage.metric))
    elif part.choose_on == "dev" and spec.dev_items == 1:
        wrong = "one item of English dev has no two halves: raise it, or write 'choose_on: whole'"
        raise spec.bad(["dev_items"], wrong)


def _check_rows_choose(spec: StudySpec, part: TargetPart, target: TargetSpec) -> None:
    """Refuses to choose on rows of train where none are left, or their scores cannot be told."""
    from adapter_stilts.evaluation.items import has_items  # half a second

    if part.train_rows is None and spec.budget.train_rows is None:
        raise UserError(
            "it takes rows of train that no training draws, and all are drawn: say how many by "
            "'train_rows'"
        )
    if spec.dev_items == 1:
        raise UserError("one row has no two halves: raise 'dev_items'")
    if target.retrieval is None and not has_items(target, {"labelled": True}):
        raise UserError(
            f"rows of train cannot choose, since the score of {part.task}, {target.metric}, is no "
            "sum over rows: leave it out"
        )


def _as_called(spec: StudySpec) -> StudySpec:
    """The same with the names of tasks and methods that records have, however they are spelt."""

    def called(part: Any) -> Any:
        changed: dict[str, Any] = {"task": built_in(part.task) or part.task}
        if isinstance(part, TargetPart):
            changed["also"] = [called(each) for each in part.also]
        return part.model_copy(update=changed)

    return spec.model_copy(
        update={
            "intermediate": [called(each) for each in spec.intermediate],
            "targets": [called(each) for each in spec.targets],
            "methods": [get_method(each).name for each in spec.methods],
        }
    )


def _check_distinct(spec: StudySpec, key: str, names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise spec.bad([key, k], f"'{name}' is given twice")


def _check_methods(spec: StudySpec) -> None:
    for k, method in enumerate(spec.methods):
        with spec.at("methods", k):
            if is_fusion(get_method(method).name):
                raise UserError(f"'{method}' is a fusion: name it in arms")
    _check_distinct(spec, "methods", [get_method(each).name for each in spec.methods])


def _check_languages(spec: StudySpec) -> None:
    tested = [get_target(each.task) for part in spec.targets for _, each in part.tests]
    known = tuple(
        dict.fromkeys(code for each in tested for code in (*each.languages, *each.others))
    )
    written = [each.strip() for each in spec.languages]
    for k, code in enumerate(written):
        if code not in GROUPS:
            with spec.at("langs", k):
                written[k] = check_language(code, known)
    _check_distinct(spec, "langs", written)
    for k, code in enumerate(spec.source_langs):
        with spec.at("source_langs", k):
            _check_source_language(spec, code)
    _check_distinct(spec, "source_langs", spec.source_langs)
    below = list(spec.below)
    for k, module in enumerate(spec.below):
        with spec.at("below", k):
            below[k] = _check_below(module)
    _check_distinct(spec, "below", below)


def _check_source_language(spec: StudySpec, code: str) -> None:
    trained = [get_target(part.task) for part in spec.targets]
    trained = [target for target in trained if target.training]
    known = {each for target in trained for each in (*target.languages, *target.train_languages)}
    if trained and (usual := check_language(code, known)) != code:
        raise UserError(f"'{code}' is written '{usual}'")
    for target in trained:
        target.trained_in(code)


def _check_below(module: str) -> str:
    """What a module at the bottom is called, however it is spelt."""
    if module in ("none", "lang:*"):
        return module
    if is_folder(Path(module)):
        record = ModuleRecord.read(find_module(module))
        if record.task and not record.language:
            raise UserError(f"'{module}' has learnt {record.task}: it is no module of a language")
        return module
    if not module.startswith("lang:"):
        meant = hint(module, ("none", "lang:*"), "none, lang:sw, lang:* and a folder are")
        raise UserError(f"'{module}' is no module of a language: {meant}")
    return f"lang:{known_language(module.removeprefix('lang:'))}"


_OF_ONE_ARM: dict[str, tuple[ArmKind, str]] = {
    "module": (
        "multitask",
        "'{}' has no module of its own: name it in 'intermediate', as a task's",
    ),
    "longer_by": (LONGER, f"'longer_by' is for the arm '{LONGER}'"),
    "further": ("singles", "'further' is for the arm 'singles': give others their 'seeds'"),
}
"""Keys that one kind of arm alone has, and what is said where another has them."""


def _check_arms(spec: StudySpec, *, unequal: bool) -> None:
    _check_distinct(spec, "arms", [each.arm for each in spec.arms])
    for k, each in enumerate(spec.arms):
        if each.arm == "as-is" and each.unequal:
            key = "steps" if each.steps else "train_rows"
            wrong = f"'as-is' learns nothing from a target, so '{key}' says nothing: leave it out"
            raise spec.bad(["arms", k, key], wrong)
        if each.unequal and not unequal:
            raise spec.bad(
                ["arms", k],
                f"'{each.arm}' has a budget of its own, so arms would not be comparable: leave it "
                "out, or say --unequal, and every table marks it",
            )
        for key, (kind, wrong) in _OF_ONE_ARM.items():
            if getattr(each, key) is not None and each.arm != kind:
                raise spec.bad(["arms", k, key], wrong.format(each.arm))
        if each.seeds and each.seeds.intermediate and each.arm in ("alone", LONGER):
            wrong = f"'{each.arm}' stands on no intermediate module, so it has no seeds of one"
            raise spec.bad(["arms", k, "seeds"], wrong)
        if not _targets_of(spec, each):
            raise spec.bad(["arms", k], f"'{each.arm}' has no run in this study: {_why(each.arm)}")
        _check_further(spec, k)


def _targets_of(spec: StudySpec, arm: ArmPart) -> set[str]:
    """The targets on which an arm has runs."""
    return {
        part.task
        for part in spec.targets
        if any(list(variants(spec.tasks, method, part, arm)) for method in spec.methods)
    }


def _why(arm: ArmKind) -> str:
    if arm == "arrow":
        return "it chooses among LoRAs, so add lora to 'methods'"
    if arm == "as-is":
        return "the head of no intermediate task fits a target, so leave the arm out"
    if arm == LONGER:
        return "no target has training data, so leave the arm out"
    return "it needs two intermediate tasks or more, and most arms a target with training data"


def _check_further(spec: StudySpec, k: int) -> None:
    arm, keys = spec.arms[k], ("arms", k, "further")
    if arm.further is None:
        return
    if arm.further.best > (tasks := len(spec.intermediate)):
        wrong = f"the best {arm.further.best} of {counted(tasks, 'intermediate task')}"
        raise spec.bad((*keys, "best"), wrong)
    if twice := set(arm.further.target) & set(spec.seeds.of(arm).target):
        wrong = f"all singles have the seed {min(twice)} already: name others"
        raise spec.bad((*keys, "target"), wrong)


def _check_contrasts(spec: StudySpec) -> None:
    _check_distinct(spec, "contrasts", [each.name for each in spec.contrasts])
    targets = {arm.arm: _targets_of(spec, arm) for arm in spec.arms}
    for k, each in enumerate(spec.contrasts):
        kinds = []
        for side, name in (("first", each.first), ("second", each.second)):
            kind = spec.kind_of(name)
            if kind is None:
                names = spec.sides if hint(name, spec.sides) else spec.arm_names
                missing = unknown("arm of this study", name, names)
                raise spec.bad(["contrasts", k, side], missing)
            kinds.append(kind)
        if each.first == each.second:
            wrong = f"'{each.first}' is compared with itself: name two arms"
            raise spec.bad(["contrasts", k, "second"], wrong)
        if not targets[kinds[0]] & targets[kinds[1]]:
            wrong = f"no target has runs of both '{each.first}' and '{each.second}'"
            raise spec.bad(["contrasts", k], wrong)


NO_LANGUAGE: tuple[str, ...] = ("as-is", *FUSIONS)
"""Arms that take no language module at the bottom."""


def _check_arm_methods(spec: StudySpec) -> None:
    """Refuses arms that could not be built, after hours of training the modules that they need."""
    trained = [bool(get_target(part.task).training) for part in spec.targets]
    if False in trained and "none" not in spec.below:
        part = spec.targets[trained.index(False)]
        wrong = f"{part.task} has no training data, so its arms take no language module at the "
        raise spec.bad(["targets", trained.index(False)], f"{wrong}bottom: add none to 'below'")
    for (k, arm), below in product(enumerate(spec.arms), spec.below):
        if arm.arm in NO_LANGUAGE and below != "none":
            wrong = f"'{arm.arm}' takes no language module ('{below}') at the bottom"
            raise spec.bad(["arms", k], f"{wrong}: leave the arm out, or 'below'")
        for method in spec.methods:
            if arm.arm == "arrow" and get_method(method).family != "lora":
                continue  # an arm of other methods
            try:
                for text in _compositions(arm.arm, below != "none", set(trained)):
                    made = parse(text)
                    usual = dict.fromkeys(module_names(made), get_method(method).name)
                    own = {"language": LANGUAGE_METHOD} if "language" in usual else {}
                    check_methods(made, {**usual, **own})
            except UserError as error:
                under = "" if below == "none" else f" on '{below}'"
                wrong = f"'{arm.arm}'{under} cannot be of method {method}: {error}"
                raise spec.bad(["arms", k], wrong) from None


def _compositions(arm: ArmKind, language: bool, trained: set[bool]) -> Iterator[str]:
    """What runs of an arm train or evaluate, with modules of one task and of another.

    A `language` is at the bottom; `trained` says whether there are targets that are, and others.
    """
    if arm == "merged":
        yield "average(one, another)"
    if arm in FUSIONS:
        yield "fuse(one, another)"
        return
    if arm in SUMS and False in trained:
        yield f"{arm}(one, another)"
    if True not in trained:
        return
    parts = ["language"] * language
    if arm in SUMS:
        parts.append(f"{SUMS[arm]}(one, another)")
    elif arm not in ("alone", LONGER):
        parts.append("one")
    if arm != "as-is":
        parts.append("target")
    yield parts[0] if len(parts) == 1 else f"stack({', '.join(parts)})"
