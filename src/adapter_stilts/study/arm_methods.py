"""Which arms there can be with which methods and language modules; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from adapter_stilts.engine.composition import module_names, parse
from adapter_stilts.engine.methods import (
    LANGUAGE_METHOD,
    check_fusable,
    check_stackable,
    get_method,
)
from adapter_stilts.errors import UserError
from adapter_stilts.study.plan import FUSIONS, SUMS
from adapter_stilts.study.spec import LONGER, ArmKind, StudySpec
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.resolved_composition import check_merged_kinds

NO_LANGUAGE: tuple[str, ...] = ("as-is", *FUSIONS)
"""Arms that take no language module at the bottom."""


def check_arm_methods(spec: StudySpec) -> None:
    """Refuses arms that could not be built, after hours of training the modules that they need.

    Raises:
        UserError: names the arm, with its line, and what does not go together.
    """
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
                    _check(text, get_method(method).name)
            except UserError as error:
                under = "" if below == "none" else f" on '{below}'"
                wrong = f"'{arm.arm}'{under} cannot be of method {method}: {error}"
                raise spec.bad(["arms", k], wrong) from None


def _check(text: str, method: str) -> None:
    made = parse(text)
    methods = {
        name: LANGUAGE_METHOD if name == "language" else method for name in module_names(made)
    }
    check_merged_kinds(made, methods)
    check_fusable(made, methods)
    check_stackable(made, methods)


def _compositions(arm: ArmKind, language: bool, trained: set[bool]) -> Iterator[str]:
    """What runs of an arm train or evaluate, with modules of one task and of another.

    Args:
        language: a module of a language is at the bottom.
        trained: whether there are targets that are trained, and others.
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
