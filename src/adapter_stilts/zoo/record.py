"""What is written of a module: its record, which may come from anybody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import with_config

from adapter_stilts.display import html_facts, scores_line
from adapter_stilts.engine.composition import Call, parse, top
from adapter_stilts.engine.methods import METHODS, is_fusion
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.heads import KINDS, has_weights
from adapter_stilts.registered import PLUG_IN
from adapter_stilts.safety import (
    STRICT,
    Count,
    Line,
    Lines,
    brief,
    check_shape,
    is_line,
    is_plain_path,
    json_text,
    one_of,
    read_json,
)
from adapter_stilts.tasks.spec import SHORTEST
from adapter_stilts.zoo.record_shape import (
    BackboneEntry,
    Bases,
    Command,
    Curve,
    Data,
    Heads,
    Merged,
    Name,
    Origin,
    Recipe,
    Scores,
    Spec,
)

RECORD = "module.json"
FORMAT = 1
LANGUAGE = "lang-"
"""What the task and the usual name of a language's module begin with."""
MULTITASK = "multitask"
"""What stands in the record of a module of several tasks where others name their task or head."""
NO_HEAD = "none"
"""The head of a merge that was given none, and of a language's module. (Of the kind `embedding`,
the trunk is the head.)"""
_Kind = Annotated[str, one_of((*KINDS, MULTITASK, NO_HEAD))]


@with_config(STRICT)
@dataclass(frozen=True, repr=False)
class ModuleRecord:
    """The record of a trained module.

    Attributes:
        name: the module's name in compositions.
        run: hash of everything that decided the training.
        task, head, method: what it does and how.
        composition: the expression that activates it, over the names of modules.
        bases: for every module below it in that expression, by name: its run and its folder.
        backbone: name, revision, model_type and fingerprint of the trunk.
        recipe: every field of the recipe, `seed` and `limit`.
        data: for `train` and `dev`: origin, fingerprint, number of examples, parts.
        scores: dev scores in percent, the one that selected the model first.
        parameters: trained parameters of module and head.
        steps, best_step: optimizer steps done, and where the kept weights come from.
        planned_steps: those of the whole training, of which fewer were done where it stopped
            early; 0 in records that do not say.
        seconds, peak_memory_mb: of the training, evaluations included.
        versions: of Python and the libraries; `machine` names the processor.
        no_answer_threshold: for tasks with unanswerable questions.
        heads: of a module of several tasks, by task: kind, labels and choices of its head,
            max_length, scores, no_answer_threshold, parameters, batches, train and dev data.
        merged: of a merge: how, and the terms, weights and sources that decide it.
        files: SHA-256 of every other file of the folder.
        evaluations: scores in percent by target task, language and metric, where they were added.
        full_precision: of a module that is stored in half precision, its dev scores in percent
            before; `scores` are then those of what is stored.
        learning_curve: the dev score that counts at every evaluation, with its `step`.
        spec: what it is to know of its task where that is unknown (`provenance.spec_entry`); of a
            module of several tasks, `heads` has each one's.
        command: what the command that makes it again names beside recipe and modules: `tasks` (none
            where there can be no command), `head`, `data`, files, `plugins` (files) and `packages`.
        origin: where it was pulled from: `hub`, the repository, and `revision`, the commit.
    """

    name: Name
    run: Line
    task: Line
    head: _Kind
    method: Line
    composition: Line
    backbone: BackboneEntry
    recipe: Recipe
    data: Data
    scores: Scores
    parameters: Count
    steps: Count
    best_step: Count
    seconds: float
    peak_memory_mb: float
    versions: Lines
    machine: Line
    created: Line
    no_answer_threshold: float | None = None
    files: Lines = field(default_factory=dict)
    bases: Bases = field(default_factory=dict)
    heads: Heads = field(default_factory=dict)
    merged: Merged = field(default_factory=dict)
    evaluations: dict[Line, dict[Line, Scores]] = field(default_factory=dict)
    full_precision: Scores = field(default_factory=dict)
    origin: Origin = field(default_factory=dict)
    planned_steps: Count = 0
    learning_curve: Curve = field(default_factory=list)
    spec: Spec = field(default_factory=dict)
    command: Command = field(default_factory=dict)
    format: int = FORMAT

    def __repr__(self) -> str:
        head = f"{self.head} head" if self.head != NO_HEAD else "no head"
        return f"<ModuleRecord {self.name}: {self.method}, {head}, on {self.backbone.get('name')}>"

    def _repr_html_(self) -> str:
        return html_facts(self.facts(), title=self.name)

    def facts(self) -> dict[str, Any]:
        """What a reader asks of the module first, by what it is called."""
        return {
            "task": self.task,
            "head": self.head,
            "method": self.method,
            "composition": self.composition,
            "backbone": self.backbone.get("name"),
            "parameters": f"{self.parameters:,}",
            "dev scores": scores_line(self.scores),
            "heads": ", ".join(self.heads),
            "origin": self.hub,
            "created": self.created,
        }

    @property
    def hub(self) -> str:
        """`repository@commit` of a module that came from the Hub, else an empty text."""
        where = self.origin
        return f"{where['hub']}@{where.get('revision', 'main')}" if where.get("hub") else ""

    @property
    def content(self) -> str:
        """A hash of the run and of the files that are loaded: what no other module shares.

        A record says its run itself, and may say that of another module.
        """
        parts = [
            f"{name} {digest}"
            for name, digest in sorted(self.files.items())
            if name != "README.md" and not name.startswith("peft/")
        ]
        return text_digest("\n".join([self.run, *parts]), 16)

    @property
    def stopped_early(self) -> bool:
        """Whether the training ended before its last step."""
        return self.steps < self.planned_steps

    @property
    def language(self) -> str:
        """The language of a module that was trained on raw text of it, else an empty text."""
        return self.task.removeprefix(LANGUAGE) if self.task.startswith(LANGUAGE) else ""

    @property
    def has_head(self) -> bool:
        """Whether it has one prediction head, its own."""
        return has_weights(self.head) and not self.heads

    @property
    def parameters_apart(self) -> int:
        """What a module for each of its tasks would have together, of the same kind and shape."""
        heads = sum(int(head["parameters"]) for head in self.heads.values())
        return (self.parameters - heads) * max(1, len(self.heads)) + heads

    def at(self, task: str) -> ModuleRecord:
        """The record of one of several tasks, as if it had no other; refuses one without a head."""
        if task not in self.heads:
            if not self.heads:
                raise UserError(f"module '{self.name}' has one head, for {self.task}, and no other")
            raise unknown(f"head in module '{self.name}' for the task", task, self.heads)
        about = self.heads[task]
        data = {key: about[key] for key in ("train", "dev")}
        return dataclasses.replace(
            self,
            task=task,
            head=about["head"],
            recipe={**self.recipe, "max_length": about["max_length"]},
            data={**self.data, **data, "labels": len(about["labels"])},
            scores=about["scores"],
            full_precision={},
            no_answer_threshold=about["no_answer_threshold"],
            heads={},
            spec=about.get("spec", {}),
        )

    @property
    def singles(self) -> list[ModuleRecord]:
        """The record of each of its tasks, as `at` gives it; of one task, the record itself."""
        return [self.at(task) for task in self.heads] or [self]

    def suited_task(self, head: str, labels: Sequence[str] = ()) -> str | None:
        """The task whose head is of that kind, of a module of several with these labels too.

        Where several are, one that finds an answer to every question goes before others, then
        they go by name.
        """
        if not self.heads:
            return self.task if self.head == head else None
        fit = [
            task
            for task, about in self.heads.items()
            if about["head"] == head and (not labels or set(about["labels"]) == set(labels))
        ]
        return min(
            fit, key=lambda task: self.heads[task]["no_answer_threshold"] is not None, default=None
        )

    def write(self, folder: Path) -> ModuleRecord:
        """Hashes the folder's files and writes `module.json`; returns the completed record."""
        files = {
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != RECORD
        }
        complete = dataclasses.replace(self, files=files)
        text = json_text(dataclasses.asdict(complete))
        (folder / RECORD).write_text(text, encoding="utf-8")
        return complete

    @classmethod
    def read(cls, folder: Path) -> ModuleRecord:
        """Reads `module.json`; refuses what is none of ours."""
        path = folder / RECORD
        if not path.is_file():
            where = "is not there" if not folder.exists() else f"has no {RECORD}: not a module"
            raise UserError(f"module {folder} {where}")
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise UserError(f"{path}: not a module record")
        if fields.get("format", FORMAT) != FORMAT:
            given = brief(fields.get("format"))
            raise UserError(f"{path}: written in format {given}, this version reads {FORMAT}")
        odd = next((text for text in _texts_in(fields) if not is_line(text)), None)
        if odd is not None:
            raise UserError(f"{path}: '{brief(odd)}' is not one printable line")
        record = check_shape(cls, fields, path)
        if problem := record.disagreement:
            raise UserError(f"{path}: {problem}")
        return record

    @property
    def disagreement(self) -> str:
        """What the record says that cannot all be true; an empty text where it can."""
        length = self.recipe["max_length"]
        if (self.head == MULTITASK) != bool(self.heads):
            return "'heads' goes with a head of the kind 'multitask', and with no other"
        if length < SHORTEST and not (length == 0 and (self.heads or self.head == NO_HEAD)):
            return f"'recipe.max_length' is {length}: less than {SHORTEST} tokens hold no text"
        if lacks := [key for key in ("train", "dev") if key not in self.data and not self.merged]:
            return f"'data.{lacks[0]}' is missing"
        if self.task and not self.merged and not self.scores:
            return "'scores' is empty, though it was trained on a task"
        trained_as = self.recipe.get("method", self.method)
        if not self.merged and trained_as != self.method:
            return f"'method' is {self.method}, 'recipe.method' {brief(trained_as)}"
        return self._composition_fault()

    def _composition_fault(self) -> str:
        """What is wrong with the composition, of which the module is the topmost part."""
        try:
            expression = parse(self.composition)
        except UserError as error:
            return f"'composition': {error}"
        fuses = isinstance(expression, Call) and expression.operator == "fuse"
        if fuses if is_fusion(self.method) else not fuses and top(expression) == self.name:
            return ""
        return (
            f"'composition' is {brief(self.composition)}, in which {brief(self.name)} is not on top"
        )

    def verify(self, folder: Path) -> None:
        """Compares every file with its recorded hash; refuses the first missing or altered one."""
        for name, expected in self.files.items():
            path = folder / name
            # By the name alone: files of the Hub's cache are links that leave their folder.
            if not is_plain_path(name):
                raise UserError(f"{folder / RECORD}: file name '{brief(name)}' leaves the folder")
            if not path.is_file():
                raise UserError(f"{path} is missing: copy the module again")
            # A second reading, of the weights alone: 6 of the 600 ms that loading 0.8 MB takes.
            if file_sha256(path) != expected:
                raise UserError(
                    f"{path} is damaged: its content is not what {RECORD} recorded; "
                    "copy or train the module again"
                )


class UnknownMethodError(UserError):
    """Nobody has said what a module's method is, so it may be whatever a plug-in makes of it."""


def check_method_is_known(record: ModuleRecord, folder: Path) -> None:
    """Refuses (UnknownMethodError) a method that neither the package nor a plug-in has."""
    if record.method not in METHODS:
        unknown = f"'method' is '{brief(record.method)}', which is none of the package's"
        raise UnknownMethodError(f"{folder / RECORD}: {unknown}; {PLUG_IN}")


def _texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, the names of its fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)
