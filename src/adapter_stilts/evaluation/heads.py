"""Whether a composition's head fits a target task, and what its numbers mean there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter_stilts.engine.native import head_labels
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head, has_weights
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.record import ModuleRecord

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine
    from adapter_stilts.zoo.composed import Composed


def check_kind(target: TargetSpec, expression: str, record: ModuleRecord | None) -> None:
    """Refuses a composition whose head is of another kind; sentence vectors need no head.

    Raises:
        UserError: says which kind it is, and how to get the right one.
    """
    if target.retrieval is not None or (record is not None and record.head == target.head):
        return
    several = record is not None and bool(record.heads)
    head = record.head if record is not None and (several or has_weights(record.head)) else ""
    what = f"has a {head} head" if head else "has no head"
    raise UserError(
        f"composition '{expression}' {what}, and {target.name} needs a {target.head} one: train "
        f"it with `adstilts train-target {target.name}`"
    )


@dataclass(frozen=True)
class Head:
    """What the head's numbers mean: tags by number, and the target's label by the head's."""

    tags: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()

    def translated(self, values: Sequence[int]) -> list[int]:
        """Label numbers of the head as label numbers of the target."""
        return [self.labels[value] for value in values] if self.labels else list(values)


def fitted_head(engine: Engine, target: TargetSpec, composed: Composed) -> Head:
    """The composition's head as the target task reads it.

    Raises:
        UserError: its labels are not the target's, or it chooses among another number of options.
    """
    check_kind(target, composed.expression, composed.record)
    names = head_labels(engine, composed.name)
    choices = int(engine.model.heads[composed.name].config.get("num_choices") or 0)
    check_labels(target, composed.expression, names, choices)
    if get_head(target.head).has_tags:
        return Head(tags=names)
    if get_head(target.head).has_labels:
        return Head(labels=tuple(map(target.labels.index, names)))
    return Head()


def check_labels(target: TargetSpec, expression: str, names: Sequence[str], choices: int) -> None:
    """Refuses a composition whose head has other labels, or chooses among another number.

    Args:
        names: its head's labels, by number.
        choices: the options that its head chooses among.

    Raises:
        UserError: says which they are, and how to get the right ones.
    """
    kind = get_head(target.head)
    if kind.has_tags and target.tags and not set(names) <= set(target.tags):
        foreign = [tag for tag in names if tag not in target.tags]
        raise UserError(
            f"composition '{expression}' has tags that are not {target.name}'s, such as "
            f"{', '.join(foreign[:3])} ({len(foreign)} of {len(names)}): train it with `adstilts "
            f"train-target {target.name}`, or name its tags with --tags"
        )
    if kind.has_labels and set(names) != set(target.labels):
        mine, theirs = (", ".join(sorted(each)[:6]) for each in (names, target.labels))
        raise UserError(
            f"composition '{expression}' has the labels {mine}, where {target.name} has "
            f"{theirs}: train it with `adstilts train-target {target.name}`"
        )
    if kind.chooses and choices != target.choices:
        raise UserError(
            f"composition '{expression}' chooses among {choices} options, where {target.name} has "
            f"{target.choices}"
        )
