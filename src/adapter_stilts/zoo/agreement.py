"""Whether a module's record and its files say the same: kind, shape, labels, length."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from adapter_stilts.engine.foreign import method_of
from adapter_stilts.engine.guard import check_module, named_config, shapes_in
from adapter_stilts.engine.heads import FOLDER
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.engine.native import (
    CONFIG,
    FILES,
    FUSION_CONFIG,
    HEAD_CONFIG,
    HEAD_FILES,
    WEIGHTS,
    fusion_files,
    read_head,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head, is_named, kind_of
from adapter_stilts.safety import brief, read_json
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.known_task import task_of
from adapter_stilts.zoo.record import RECORD, ModuleRecord


def check_stored(record: ModuleRecord, folder: Path) -> None:
    """Refuses a module whose files are not as they were recorded, or not what the record says.

    Raises:
        UserError: says which file or field is at fault.
    """
    record.verify(folder)
    check_agreement(record, folder)


def check_agreement(record: ModuleRecord, folder: Path) -> None:
    """The same, but for the files' hashes.

    Raises:
        UserError: says which file or field is at fault.
    """
    for name in _needed(record, folder):
        if name not in record.files:
            raise UserError(f"{folder / RECORD}: 'files' lacks {name}: copy the module again")
    check_module(folder, record.method)
    _check_method(record, folder)
    if record.has_head:
        _check_head(record, folder, folder)
    for task in record.heads:
        _check_head(record.at(task), folder, folder / FOLDER / task)
        labels, choices = read_head(folder / FOLDER / task)
        about = record.heads[task]
        named = is_named(about["head"])
        if (named and tuple(about["labels"]) != labels) or about.get("choices", 0) not in (
            0,
            choices,
        ):
            raise UserError(f"{folder / RECORD}: 'heads.{task}' has other labels than its head")


def check_lengths(record: ModuleRecord, folder: Path, positions: int) -> None:
    """Refuses a module for longer sequences than a backbone has positions for.

    Modules of other programs do not say how long theirs were.

    Raises:
        UserError: names the field.
    """
    if not (record.task or record.merged):
        return
    lengths = {"recipe.max_length": record.recipe["max_length"]}
    lengths |= {f"heads.{task}.max_length": x["max_length"] for task, x in record.heads.items()}
    for field, length in lengths.items():
        if length > positions:
            raise UserError(
                f"{folder / RECORD}: '{field}' is {length}, but the backbone has positions for "
                f"{positions} tokens"
            )


def _needed(record: ModuleRecord, folder: Path) -> list[str]:
    """The files that are loaded."""
    own = fusion_files(folder, head=False) if is_fusion(record.method) else FILES[:1]
    pairs = [*own, *(HEAD_FILES if record.has_head else ())]
    names = [name for pair in pairs for name in pair]
    return names + [
        f"{FOLDER}/{task}/{name}" for task in record.heads for pair in HEAD_FILES for name in pair
    ]


def _check_method(record: ModuleRecord, folder: Path) -> None:
    method = get_method(record.method).name
    if is_fusion(method):
        from adapter_stilts.engine.fusing import FusionShape  # seconds of imports

        about, shape = read_json(folder / FUSION_CONFIG), FusionShape.of(method)
        fits = (about["kind"], about["shared"]) == (shape.kind, shape.shared)
    elif method == "head":
        fits = not shapes_in(folder / WEIGHTS)
    else:
        fits = method == method_of(folder)
    if not fits or method != record.method:
        raise UserError(
            f"{folder / RECORD}: 'method' is '{brief(record.method)}', which {CONFIG} and the "
            "weights are not"
        )


def _check_head(record: ModuleRecord, folder: Path, place: Path) -> None:
    """Compares the record of one head with the head, and both with the task where it is known."""
    _, config = named_config(place / HEAD_CONFIG)
    kind, (labels, choices) = kind_of(config), read_head(place)
    path = folder / RECORD
    if kind != record.head:
        raise UserError(f"{path}: 'head' is {record.head}, but its weights are a {kind} head")
    named = is_named(kind)
    count = record.data.get("labels")
    if named and labels and isinstance(count, int) and count != len(labels):
        raise UserError(f"{path}: 'data.labels' is {count}, but the head has {len(labels)} labels")
    task = _known(record)
    if task is None:
        return
    if kind != task.head:
        raise UserError(f"{path}: 'head' is {kind}, but task {task.name} takes a {task.head} head")
    if get_head(kind).has_labels and labels != task.labels:
        raise UserError(
            f"{place / HEAD_CONFIG}: 'label2id' has {brief(', '.join(labels))}, but task "
            f"{task.name} has {', '.join(task.labels)}"
        )
    if get_head(kind).chooses and choices != task.choices:
        raise UserError(
            f"{place / HEAD_CONFIG}: 'num_choices' is {choices}, but task {task.name} has "
            f"{task.choices}"
        )


def _known(record: ModuleRecord) -> TaskSpec | None:
    with suppress(UserError):
        return task_of(record)
    return None
