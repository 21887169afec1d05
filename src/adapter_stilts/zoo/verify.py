"""Whether a module is what it says it is: its files, its weights, its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.foreign import method_of
from adapter_stilts.engine.guard import check_module, named_config, shapes_in
from adapter_stilts.engine.methods import BUILT_IN_METHODS, get_method, is_fusion
from adapter_stilts.engine.native import (
    CONFIG,
    FILES,
    FUSION_CONFIG,
    HEAD_CONFIG,
    HEAD_FILES,
    HEADS,
    WEIGHTS,
    fusion_files,
    head_name,
    read_labels,
)
from adapter_stilts.errors import FailureError, RefusedError, UserError
from adapter_stilts.heads import get_head, is_named, kind_of
from adapter_stilts.safety import brief, read_json
from adapter_stilts.tasks.registry import find_added, get_target, target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.provenance import is_own, task_of
from adapter_stilts.zoo.record import (
    NO_HEAD,
    RECORD,
    ModuleRecord,
    UnknownMethodError,
    check_method_is_known,
)

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Module


def check_stored(record: ModuleRecord, folder: Path) -> None:
    """Refuses a module whose files are not as they were recorded, or not what the record says."""
    record.verify(folder)
    check_agreement(record, folder)


def check_agreement(record: ModuleRecord, folder: Path) -> None:
    """The same, but for the files' hashes."""
    for name in _needed(record, folder):
        if name not in record.files:
            raise UserError(f"{folder / RECORD}: 'files' lacks {name}: copy the module again")
    check_module(folder, record.method)
    _check_method(record, folder)
    if record.has_head:
        _check_head(record, folder, folder)
    for task in record.heads:
        _check_head(record.at(task), folder, folder / HEADS / task)
        labels, choices = read_labels(folder / HEADS / task)
        about = record.heads[task]
        fits = not is_named(about["head"]) or tuple(about["labels"]) == labels
        if not fits or about.get("choices", 0) not in (0, choices):
            raise UserError(f"{folder / RECORD}: 'heads.{task}' has other labels than its head")


def check_lengths(record: ModuleRecord, folder: Path, positions: int) -> None:
    """Refuses a module for longer sequences than a backbone has positions for; names the field.

    Modules of other programs do not say how long theirs were.
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
        f"{HEADS}/{task}/{name}" for task in record.heads for pair in HEAD_FILES for name in pair
    ]


def _check_method(record: ModuleRecord, folder: Path) -> None:
    check_method_is_known(record, folder)
    method = get_method(record.method).name
    if is_fusion(method):
        from adapter_stilts.engine.fusing import FusionShape  # seconds of imports

        about, shape = read_json(folder / FUSION_CONFIG), FusionShape.of(method)
        fits = (about["kind"], about["shared"]) == (shape.kind, shape.shared)
    elif method == "head":
        fits = not shapes_in(folder / WEIGHTS)
    else:
        written = method_of(folder)
        fits = method == written
        if method not in BUILT_IN_METHODS:  # a plug-in's: its files are like those of its family
            fits = get_method(written).family == get_method(method).family
    if not fits or method != record.method:
        raise UserError(
            f"{folder / RECORD}: 'method' is '{brief(record.method)}', which {CONFIG} and the "
            "weights are not"
        )


def _check_head(record: ModuleRecord, folder: Path, place: Path) -> None:
    """Compares the record of one head with the head, and both with the task where it is known."""
    _, config = named_config(place / HEAD_CONFIG)
    kind, (labels, choices) = kind_of(config), read_labels(place)
    path = folder / RECORD
    if kind != record.head:
        raise UserError(f"{path}: 'head' is {record.head}, but its weights are a {kind} head")
    named = is_named(kind)
    count = record.data.get("labels")
    if named and labels and count is not None and count != len(labels):
        raise UserError(f"{path}: 'data.labels' is {count}, but the head has {len(labels)} labels")
    try:
        task = task_of(record)
    except UserError:
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


TOLERANCE = 0.1
"""Points in percent by which scores may differ: other processors round otherwise."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `fine` is None where it could not be."""

    what: str
    fine: bool | None
    detail: str


def verify(
    folder: Path, *, load: bool = True, scores: bool = False, data: str | None = None
) -> list[Check]:
    """Looks at a module: record, hashes, shapes, backbone, scores.

    Args:
        load: put it on its backbone, which is loaded for that, and so compare fingerprints.
        scores: compute its dev scores anew, on the data that is there.
        data: where that is, as for training.
    """
    checks = list(_files(folder))
    if (load or scores) and all(check.fine for check in checks):
        checks += _loaded(folder, scores=scores, data=data)
    return checks


def _files(folder: Path) -> Iterator[Check]:
    try:
        record = ModuleRecord.read(folder)
    except UserError as error:
        yield Check("record", False, str(error))
        return
    yield Check("record", True, f"{record.task or 'no task'}, {record.method}, run {record.run}")
    yield _check(
        "hashes", lambda: record.verify(folder), f"{len(record.files)} files as they were recorded"
    )
    yield _check(
        "shapes",
        lambda: check_agreement(record, folder),
        "weights as recorded and configured, in safetensors",
    )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if others := sorted(there - {*record.files, RECORD}):
        yield Check("other files", None, f"not in the record, and never read: {', '.join(others)}")


def _check(what: str, look: Callable[[], object], detail: str) -> Check:
    try:
        look()
    except UnknownMethodError as error:
        return Check(what, None, f"not checked: {error}")
    except UserError as error:
        return Check(what, False, str(error))
    return Check(what, True, detail)


def _loaded(folder: Path, *, scores: bool, data: str | None) -> Iterator[Check]:
    from adapter_stilts.backbones import find_backbone
    from adapter_stilts.zoo.resolve import load, resolve_folder

    try:
        name = resolve_folder(folder).backbone
        backbone = find_backbone(name)
    except RefusedError as error:
        yield Check("backbone", False, str(error))
        return
    except (UserError, FailureError) as error:
        yield Check("backbone", None, f"not checked: {error}")
        return
    try:
        module = load(folder, backbone=backbone.name, precision="fp32")
    except UserError as error:
        yield Check("backbone", False, str(error))
        return
    known = module.record.backbone.get("fingerprint")
    detail = f"fingerprint {known}" if known else "it has no fingerprint; the shapes fit"
    yield Check("backbone", True, f"{name}, {detail}")
    if scores:
        yield check_scores(module, data)


@dataclass(frozen=True)
class DevScores:
    """Scores in percent, of a module of several tasks as `task.metric`, and of how many examples.

    What a metric finds that is no score (a threshold) is not among them.
    """

    examples: int
    scores: dict[str, float]


def check_scores(module: Module, data: str | None) -> Check:
    """Whether a module's dev scores come out again; undecided where the data is not the same."""
    if module.record.head == NO_HEAD:
        return Check("scores", None, "not checked: it was saved without a head")
    try:
        found = dev_scores(module, data)
    except (UserError, FailureError) as error:
        return Check("scores", None, f"not checked: {error}")
    if found is None:
        return Check("scores", None, "not checked: the dev data here is not what it was scored on")
    recorded = recorded_scores(module.record)
    off = {
        key: (recorded[key], value)
        for key, value in found.scores.items()
        if abs(value - recorded[key]) > TOLERANCE
    }
    if off:
        listed = ", ".join(f"{key} {old:.2f}, now {new:.2f}" for key, (old, new) in off.items())
        return Check("scores", False, f"on {found.examples:,} dev examples: recorded {listed}")
    shown = ", ".join(f"{key} {value:.2f}" for key, value in found.scores.items())
    return Check("scores", True, f"on {found.examples:,} dev examples: {shown}")


def dev_scores(module: Module, data: str | None) -> DevScores | None:
    """The module's scores on the dev examples that its record names; None if they are not here.

    Of a module of several tasks, every head is tried on its own task's. Refuses unreadable data.
    """
    from adapter_stilts.inference.predictions import default_batch_tokens

    examples = 0
    scores: dict[str, float] = {}
    for part in _parts(module):
        dev = _dev_examples(part, data)
        if dev is None:
            return None
        rows: list[Any] = dev.examples.to_list()
        found = part.score(rows, batch_tokens=default_batch_tokens(module.engine.device))
        start = f"{part.record.task}." if module.record.heads else ""
        examples += len(rows)
        scores |= {
            f"{start}{key}": found[key]
            for key in part.record.scores
            if key in found and not key.endswith("_threshold")
        }
    return DevScores(examples, scores)


def recorded_scores(record: ModuleRecord) -> dict[str, float]:
    """The record's scores by the names that `DevScores` has for them."""
    if not record.heads:
        return dict(record.scores)
    return {
        f"{task}.{key}": value
        for task, head in record.heads.items()
        for key, value in head["scores"].items()
    }


def _parts(module: Module) -> Iterator[Module]:
    """The module, or if it is of several tasks, with the head of one after the other."""
    if not module.record.heads:
        yield module
    for task in module.record.heads:
        name = head_name(module.name, task)
        module.engine.model.active_head = name  # until the next one is
        yield dataclasses.replace(module, record=module.record.at(task), name=name)


def _task(module: Module) -> TaskSpec:
    """The task as it was learnt: a target's stage, in its source language."""
    language = module.record.data.get("language") or "en"
    stages = (
        stage
        for target in target_tasks().values()
        if module.record.task in {stage.name for stage in target.training}
        for stage in target.trained_in(language)
        if stage.name == module.record.task
    )
    own_task = is_own(module.record)
    task = _registered(module.record) if own_task else next(stages, module.task)
    assert task is not None
    own = module.record.data.get("tags")  # a set of the user's own
    return dataclasses.replace(task, tags=tuple(own)) if own is not None else task


def _registered(record: ModuleRecord) -> TaskSpec | None:
    """The user's own task of a module, where a plug-in has registered the very same."""
    if find_added(record.task) is None:
        return None
    language = record.data.get("language") or "en"
    stages = get_target(record.task).trained_in(language)
    return next((each for each in stages if each.identity == record.spec["identity"]), None)


def _dev_examples(module: Module, data: str | None) -> ExampleSet | None:
    """The examples that the record names, by their fingerprint.

    Records of earlier versions name what the examples were read from.
    """
    if is_own(module.record) and not _registered(module.record):
        raise UserError(
            "its task is a user's own: a plug-in that registers it says where its data is"
        )
    recorded = module.record.data.get("dev")
    if recorded is None:
        return None
    seed = module.record.recipe.get("seed", 0)
    for limit in (None, recorded["examples"] or None):
        found = load_examples(_task(module), "dev", data, limit=limit, seed=seed)
        if recorded.get("fingerprint") in (found.fingerprint, found.read_from):
            return found
    return None
