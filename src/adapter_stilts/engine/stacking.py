"""Which methods can be stacked on each other, and which can be fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapter_stilts.engine.composition import Expression, canonical, fusings, merges, module_names
from adapter_stilts.engine.methods import get_method, is_invertible
from adapter_stilts.engine.native import LORAS_ALONE
from adapter_stilts.errors import UserError


def check_fusable(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses fusions of modules that are not of one kind, or of a kind that cannot be fused."""
    for fusion in fusings(expression):
        for part in fusion.parts:
            if merges(part):
                raise UserError(
                    f"'{canonical(part)}' cannot be fused: write it as a module with `adstilts "
                    "merge`, and fuse that"
                )
            if fusings(part):
                raise UserError(
                    f"'{canonical(part)}' is a fusion inside a fusion, which `adapters` does not "
                    "have: fuse its modules together with the others, or stack a module on it"
                )
            _check_source(part, [(name, methods[name]) for name in module_names(part)])
        every = [name for part in fusion.parts for name in module_names(part)]
        first = every[0]
        for name in every if fusion.operator == "arrow" else ():
            if get_method(methods[name]).family != "lora":
                raise UserError(f"'{name}' ({methods[name]}) is no LoRA: {LORAS_ALONE}")
        for name in every[1:]:
            if _fusable_with(methods[first]) != _fusable_with(methods[name]):
                raise UserError(
                    f"'{first}' ({methods[first]}) and '{name}' ({methods[name]}) are of two "
                    "kinds: fuse bottleneck modules of one method with each other, or LoRAs with "
                    "each other"
                )


def _check_source(part: Expression, modules: Sequence[tuple[str, str]]) -> None:
    for name, method in modules:
        if get_method(method).family not in ("bottleneck", "lora") or method == "head":
            raise UserError(
                f"'{name}' ({method}) cannot be fused: bottleneck modules and LoRAs can"
            )
        if is_invertible(method):
            raise UserError(
                f"'{name}' ({method}) cannot be fused: its part at the embeddings would act on "
                f"all sources; put it below the fusion, as in stack({name}, fuse(...))"
            )
    if len(modules) > 1 and modules[0][1] == "parallel-bottleneck":
        raise UserError(
            f"'{canonical(part)}' cannot be fused: of stacked parallel-bottleneck modules only "
            "the last one acts; fuse single ones, or modules of method bottleneck"
        )


def _fusable_with(method: str) -> str:
    """What modules have in common that can be fused: LoRAs of any shape, bottlenecks of one."""
    return "lora" if get_method(method).family == "lora" else method


def check_stackable(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses modules that change the same weights in ways that do not go together.

    Args:
        methods: the method of every module of the expression by its name, from the bottom up.

    Raises:
        UserError: names the two.
    """
    _check_parallel(expression, methods)
    _check_invertible(expression, methods)
    first: tuple[str, str] | None = None
    for name, method in methods.items():
        family = get_method(method).family
        if family in ("bottleneck", "fusion"):
            continue
        if first and (family != first[1] or family == "dora"):
            raise UserError(
                f"'{name}' ({method}) cannot be stacked with '{first[0]}' "
                f"({methods[first[0]]}): they change the same weights in different ways; "
                "bottleneck modules stack with any other, LoRA with LoRA, (IA)3 with (IA)3"
            )
        first = first or (name, family)


def _check_invertible(expression: Expression, methods: Mapping[str, str]) -> None:
    """`adapters` 1.3 takes the part at the embeddings of the first module and drops others'."""
    lowest, *others = module_names(expression)
    for name in others:
        if is_invertible(methods[name]):
            raise UserError(
                f"'{name}' ({methods[name]}) has a part at the embeddings, which acts only at the "
                f"bottom of a stack, not above '{lowest}'"
            )


def _check_parallel(expression: Expression, methods: Mapping[str, str]) -> None:
    """In `adapters` 1.3 a parallel adapter replaces what the bottleneck below it has added."""
    if isinstance(expression, str):
        return
    below = ""
    for part in expression.parts:
        _check_parallel(part, methods)
        kinds = {methods[name]: name for name in module_names(part)}
        if expression.operator == "stack" and below and "parallel-bottleneck" in kinds:
            raise UserError(
                f"'{kinds['parallel-bottleneck']}' (parallel-bottleneck) cannot be stacked on "
                f"'{below}' ({methods[below]}), whose work it would replace: methods bottleneck "
                "and double-bottleneck stack"
            )
        bottlenecks = [
            name
            for name in module_names(part)
            if get_method(methods[name]).family == "bottleneck" and methods[name] != "head"
        ]
        below = bottlenecks[-1] if bottlenecks else below
