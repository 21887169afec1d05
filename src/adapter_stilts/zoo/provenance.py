"""Where a module comes from, by its record, so that it works where its task is unknown.

What each task is, the licence of the data that was really seen, whether a score beats a guess; the
recipe and the one command that make the module again.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from math import sqrt
from pathlib import Path, PurePath
from typing import Any, NoReturn

from adapter_stilts.engine.composition import Call, Expression, build_stack, canonical
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.errors import UserError
from adapter_stilts.paths import is_file
from adapter_stilts.tasks.registry import (
    get_trained,
    intermediate_tasks,
    is_built_in,
    is_task_file,
    target_tasks,
)
from adapter_stilts.tasks.spec import SHORTEST, HubData, Row, Source, TargetSpec, TaskSpec
from adapter_stilts.yaml_files import write_yaml
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolved_composition import as_recorded


def spec_entry(task: TaskSpec) -> dict[str, Any]:
    """What a record keeps of a task: all that its module's card, use and export need.

    An `identity` is only there for a task that is not the package's. `evaluated` are the languages
    of a user's own target.
    """
    hub = [source.hub for source in task.sources if source.hub]
    return {
        "title": task.title,
        "metric": task.metric,
        "licence": task.licence,
        "citation": task.citation,
        "labels": list(task.labels),
        "choices": task.choices,
        "max_length": task.max_length,
        "unanswerable": task.unanswerable,
        "language": task.language,
        "evaluated": list(task.languages),
        "datasets": {each.id: each.revision for each in hub},
        "identity": task.identity or ("" if is_built_in(task) else "spec"),
    }


def is_own(record: ModuleRecord) -> bool:
    """Whether the record says of its task that it is none of the package's."""
    return bool(record.spec.get("identity"))


def task_of(record: ModuleRecord) -> TaskSpec:
    """The task of a module with one head: the package's, or as its record says; refuses neither.

    Nothing is read or imported because of what stands there: of a task that the package does not
    have, there is no data to be found.
    """
    if is_own(record):
        return _as_recorded(record)
    try:
        return get_trained(record.task)
    except UserError:
        if not record.spec:
            raise
        return _as_recorded(record)


def _as_recorded(record: ModuleRecord) -> TaskSpec:
    spec = record.spec
    sources = tuple(
        Source(record.task, (), HubData(name, revision, {}))
        for name, revision in spec["datasets"].items()
    )
    return TaskSpec(
        name=record.task,
        title=spec["title"],
        head=record.head,
        metric=spec["metric"],
        sources=sources,
        to_example=no_rows,
        licence=spec["licence"],
        citation=spec["citation"],
        sizes={},
        labels=tuple(spec["labels"]),
        choices=spec["choices"],
        unanswerable=spec["unanswerable"],
        max_length=max(SHORTEST, spec["max_length"]),
        language=spec["language"],
        identity=spec["identity"],
        languages=tuple(spec["evaluated"]),
    )


def no_rows(row: Row) -> NoReturn:
    """Of a task whose examples are not rows of a data set that is known here."""
    raise UserError("a module's record names no data: give the task file")


def tasks_of(record: ModuleRecord) -> list[TaskSpec]:
    """A module's tasks; title, licence and citation are those of the data it has seen."""
    return [_task_of(each) for each in record.singles]


def licence_of(record: ModuleRecord) -> str:
    """The licence of all data that a module learnt from; of several, with the tasks of each.

    A merged module has learnt from what its sources have. Of other programs' modules and of raw
    text it is "unknown".
    """
    try:
        if record.merged:
            sources = {each["task"]: each for each in record.merged["sources"].values()}
            licences = {
                name: str(about.get("licence") or get_trained(name).licence)
                for name, about in sources.items()
            }
        else:
            licences = {task.name: task.licence for task in tasks_of(record)}
    except UserError:
        return "unknown"
    found: dict[str, list[str]] = {}
    for name, licence in licences.items():
        found.setdefault(licence, []).append(name)
    if len(found) < 2:
        return next(iter(found), "unknown")
    return "; ".join(f"{licence} ({', '.join(names)})" for licence, names in found.items())


def _task_of(record: ModuleRecord) -> TaskSpec:
    task = task_of(record)
    parts = record.data.get("train", {}).get("parts", ())
    read = {PurePath(file).name for part in parts for file in part.get("files", ())}
    for layout in (each for source in task.sources for each in source.files):
        globs = [PurePath(glob).name for glob in layout.paths.get("train", ())]
        if layout.licence and any(fnmatch(name, glob) for name in read for glob in globs):
            about = {key: getattr(layout, key) for key in ("title", "licence", "citation")}
            return dataclasses.replace(task, **about)
    return task


ERRORS = 2.0
"""Standard errors above a guess that a score needs to count as more."""


def majority(answers: Sequence[object]) -> float:
    """The percentage of examples that the most frequent answer gets right.

    >>> majority([0, 1, 1, 2])
    50.0
    """
    return 100 * max(Counter(answers).values()) / len(answers)


def at_chance(record: ModuleRecord) -> list[str]:
    """The tasks of a module whose score is within noise of the best constant guess.

    Records that do not say what a guess reaches (`data.dev.chance`) count as better.
    """
    return [each.task for each in record.singles if _is_at_chance(each)]


def _is_at_chance(record: ModuleRecord) -> bool:
    dev = record.data.get("dev", {})
    for metric, value in dev.get("chance", {}).items():
        score = record.scores.get(metric)
        if score is None:
            continue
        share = min(max(value / 100, 0.0), 1.0)
        noise = 100 * sqrt(share * (1 - share) / max(1, dev["examples"]))
        if score < value + ERRORS * noise:
            return True
    return False


def chance_note(record: ModuleRecord) -> str:
    """What follows a score in a list where it is no better than a guess; else an empty text."""
    found = at_chance(record)
    if not found:
        return ""
    return f" ({len(found)}/{len(record.heads)} chance)" if record.heads else " (chance)"


RECIPE = "recipe.yaml"
ASKED = "asked"
"""In a record's recipe: the fields as they were asked for, where those of the whole training are
needed to make it again (a stage of several)."""
BESIDE = (
    ASKED,
    "seed",
    "limit",
    "dev_limit",
    "fresh_head",
    "temperature",
    "normalise_losses",
    "mlm_text",
    "mlm_languages",
    "mlm_share",
)
"""What a record's recipe tells besides the recipe's own fields."""


def named(task: str | Path | TaskSpec | TargetSpec) -> str:
    """How a command names a task that was given so: its name, or the whole path of its file."""
    if isinstance(task, (TaskSpec, TargetSpec)):
        return task.name
    return whole(task) if is_task_file(str(task)) else str(task)


def whole(path: str | Path) -> str:
    """The path from the root, which means the same in every folder."""
    return str(Path(path).expanduser().absolute())


def write_recipe(record: ModuleRecord, folder: Path) -> None:
    """Writes every field of the recipe as YAML, for `--recipe`; of a merge there is none."""
    if record.merged:
        return
    fields = {**record.recipe, **record.recipe.get(ASKED, {})}
    own = {key: value for key, value in fields.items() if key not in BESIDE}
    about = f"# The settings of {record.name} (run {record.run}), for --recipe.\n"
    (folder / RECIPE).write_text(about + write_yaml(own), encoding="utf-8")


def command_text(record: ModuleRecord, recipe: str = RECIPE) -> str:
    """The one command that makes a module again; an empty text where there is none, as of a merge.

    On the machine of its training it names files and modules by their whole paths. In a record
    that is shared they have none, and are named as others may find them. So is the `recipe`.
    """
    start = [] if record.merged else _start(record)
    return shlex.join([*start, "--recipe", recipe, *_options(record)]) if start else ""


def own_files(record: ModuleRecord) -> list[str]:
    """The files that the command of a shared module names, which whoever trained it has."""
    known = record.command
    files = [known.get(key, "") for key in ("train_file", "dev_file", "text")]
    files += [*filter(is_task_file, known.get("tasks", ())), *known.get("plugins", ())]
    return [name for name in files if name and not Path(name).is_absolute()]


def _start(record: ModuleRecord) -> list[str]:
    """The command without the settings."""
    known = record.command
    if known.get("tasks") == []:
        return []
    if record.heads and not record.bases:
        tasks = ",".join(known.get("tasks", record.heads))
        return ["adstilts", "train-multitask", "--tasks", tasks, *_mixture(record)]
    if record.language:
        return ["adstilts", "train-language", record.language, "--text", known.get("text", "TEXT")]
    if known.get("head"):
        return ["adstilts", "train-adapter", "--head", known["head"]]
    own = known.get("tasks", [f"{record.task}.yaml"])[0] if is_own(record) else ""
    target = own or _target(record.task)
    if is_fusion(record.method) and target:
        start = ["adstilts", "fuse", *_fused(record), "--target", target]
        start += ["--kind", record.method.removeprefix("fusion-")]
    elif _is_adapter(record):
        start = ["adstilts", "train-adapter", own or record.task]
    elif target:
        start = ["adstilts", "train-target", target]
        start += ["--on", base] if (base := _below(record)) else []
    else:
        return []
    if record.recipe.get("fresh_head"):
        start += ["--fresh-head"]
    return start


def _is_adapter(record: ModuleRecord) -> bool:
    """Whether `train-adapter` makes it, which asks for no language and no tags."""
    if is_own(record):
        return not record.bases and not record.data.get("tags") and _language(record) == "en"
    return record.task in intermediate_tasks() and not record.bases


def _language(record: ModuleRecord) -> str:
    return record.data.get("language") or "en"


def _fused(record: ModuleRecord) -> list[str]:
    """What a fusion is over."""
    expression = as_recorded(record)
    assert isinstance(expression, Call)
    return [canonical(_placed(part, record)) for part in expression.parts]


def _below(record: ModuleRecord) -> str:
    """What a module was trained on top of; an empty text where it stands alone."""
    expression = as_recorded(record)
    if not record.bases or not isinstance(expression, Call) or expression.operator != "stack":
        return ""
    return canonical(build_stack(*(_placed(part, record) for part in expression.parts[:-1])))


def _placed(expression: Expression, record: ModuleRecord) -> Expression:
    """The expression over the places of modules below, where their record names such."""
    name = expression if isinstance(expression, str) else expression.by
    base = record.bases.get(name, {})
    if (path := base.get("path", "")) and is_file(Path(path) / RECORD):
        return str(Path(path).absolute())
    if isinstance(expression, str):
        return base.get("hub", name)
    return replace(expression, parts=tuple(_placed(part, record) for part in expression.parts))


def _mixture(record: ModuleRecord) -> list[str]:
    """How several tasks were mixed."""
    recipe, found = record.recipe, []
    if recipe.get("temperature"):
        found += ["--temperature", str(recipe["temperature"])]
    if recipe.get("normalise_losses"):
        found += ["--normalise-losses"]
    if recipe.get("mlm_text"):
        text = recipe["mlm_text"]
        found += ["--mlm-text", text if Path(text).is_absolute() else "FOLDER_OF_THE_TEXT"]
        found += ["--mlm-share", str(recipe["mlm_share"])] if recipe.get("mlm_share") else []
    return found


def _target(task: str) -> str:
    """The target that a record's task is a stage of."""
    return next(
        (name for name, each in target_tasks().items() if task in {s.name for s in each.training}),
        "",
    )


def _options(record: ModuleRecord) -> list[str]:
    """What a recipe does not say."""
    found = ["--backbone", record.backbone["name"], *_sources(record)]
    language = _language(record)
    if language != "en" and not (record.language or record.heads or record.command.get("head")):
        found += ["--source-lang", language]
    if record.data.get("tags"):
        found += ["--tags", ",".join(record.data["tags"])]
    for split, name in (("train", "limit"), ("dev", "dev_limit")):
        if number := record.recipe.get(name) or _drawn(record, split):
            found += [f"--{name.replace('_', '-')}", str(number)]
    if any(part.get("rows_bad") for part in _parts(record, "train")):
        found += ["--skip-bad-rows"]
    return [*found, "--seed", str(record.recipe.get("seed", 0))]


def _sources(record: ModuleRecord) -> list[str]:
    """Where rows and what plug-ins add come from."""
    known, found = record.command, []
    origins = [record.data[split].get("origin", "hub") for split in ("train", "dev")]
    if not record.language and not is_own(record):
        data = known.get("data", origins[1])
        is_here = data in ("hub", "sample") or ("data" in known and Path(data).is_absolute())
        # A folder is somebody's own: its name says nothing to others.
        found += ["--data", data if is_here else "FOLDER_OF_THE_DATA"]
        if not known and origins[0] != origins[1]:
            found += ["--train-file", "FILE_OF_THE_ROWS"]
    for key in ("train_file", "dev_file"):
        found += [f"--{key.replace('_', '-')}", known[key]] if key in known else []
    for path in known.get("plugins", ()):
        found += ["--include", path]
    return found


def _parts(record: ModuleRecord, split: str) -> list[dict[str, Any]]:
    """What was read of every source, of each task."""
    return [part for each in record.singles for part in each.data[split].get("parts", ())]


def _drawn(record: ModuleRecord, split: str) -> int:
    """How many examples were drawn, of each task, where the record does not say what was asked."""
    parts = [each.data[split] for each in record.singles]
    drawn = [
        part["examples"]
        for part in parts
        if sum(each.get("rows_kept", 0) for each in part.get("parts", ())) > part["examples"]
    ]
    return max(drawn, default=0)
