"""Whether the modules of a composition fit together."""

from __future__ import annotations

from collections import Counter

from adapter_stilts.engine.composition import (
    FUSING,
    Expression,
    canonical,
    module_names,
    renamed,
    top,
)
from adapter_stilts.engine.stacking import check_fusable, check_stackable
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.choice import check_one_backbone
from adapter_stilts.zoo.merged import check_merged_kinds, check_merged_shapes
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


def checked(resolved: ResolvedComposition) -> ResolvedComposition:
    """The composition, if its modules fit together.

    Raises:
        UserError: a module twice, or modules of different backbones, or of kinds that do not stack.
    """
    check_merged_kinds(resolved.expression, resolved.methods)
    check_fusable(resolved.expression, resolved.methods)
    check_stackable(resolved.expression, resolved.methods)
    named = module_names(resolved.expression)
    twice = _twice(renamed(resolved.expression, lambda name: resolved.modules[name].record.run))
    for name in named:
        if resolved.modules[name].record.run in twice:
            raise UserError(
                f"composition '{canonical(resolved.expression)}': '{name}' is in it twice"
            )
    try:
        check_one_backbone([(name, resolved.modules[name].record.backbone) for name in named])
    except UserError as error:
        raise UserError(f"composition '{canonical(resolved.expression)}': {error}") from None
    folders = {name: reference.folder for name, reference in resolved.modules.items()}
    check_merged_shapes(resolved.expression, resolved.records, folders)
    return resolved


def _twice(expression: Expression) -> set[str]:
    """Runs that are in an expression twice.

    Several sources of a fusion may stand on the same module, as on one for a language.
    """
    if isinstance(expression, str):
        return set()
    inner = [_twice(part) for part in expression.parts]
    side_by_side = expression.operator in FUSING
    own = [{top(part)} if side_by_side else set(module_names(part)) for part in expression.parts]
    counts = Counter(run for each in own for run in each)
    return set().union(*inner, (run for run, times in counts.items() if times > 1))
