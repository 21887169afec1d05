"""Whether a composition's head fits a target task, and what its numbers mean there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter_stilts.errors import UserError
from adapter_stilts.modules.native import head_labels
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord

if TYPE_CHECKING:
    from adapter_stilts.modules.engine import Engine
    from adapter_stilts.zoo.composed import Composed


def check_kind(target: TargetSpec, expression: str, record: ModuleRecord | None) -> None:
    """Refuses a composition whose head is of another kind; sentence vectors need no head.

    Raises:
        UserError: says which kind it is, and how to get the right one.
    """
    if target.retrieval is not None or (record is not None and record.head == target.head):
        return
    head = "" if record is None or record.head in ("embedding", NO_HEAD) else record.head
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
    if target.head == "tagging":
        if target.tags and not set(names) <= set(target.tags):
            foreign = [tag for tag in names if tag not in target.tags]
            listed = ", ".join(foreign[:3])
            raise UserError(
                f"composition '{composed.expression}' has tags that are not {target.name}'s, such "
                f"as {listed} ({len(foreign)} of {len(names)}): train it with `adstilts "
                f"train-target {target.name}`, or name its tags with --tags"
            )
        return Head(tags=names)
    if target.head == "classification":
        if set(names) != set(target.labels):
            raise _other(target, composed, "labels", names, target.labels)
        return Head(labels=tuple(map(target.labels.index, names)))
    if target.head == "choice":
        given = int(engine.model.heads[composed.name].config["num_choices"])
        if given != target.choices:
            raise UserError(
                f"composition '{composed.expression}' chooses among {given} options, where "
                f"{target.name} has {target.choices}"
            )
    return Head()


def _other(
    target: TargetSpec, composed: Composed, what: str, mine: Sequence[str], theirs: Sequence[str]
) -> UserError:
    mine, theirs = (", ".join(sorted(names)[:6]) for names in (mine, theirs))
    return UserError(
        f"composition '{composed.expression}' has the {what} {mine}, where {target.name} has "
        f"{theirs}: train it with `adstilts train-target {target.name}`"
    )
