"""What a composition means: its expression, and the folder and record of every module in it.

Of a merge, which is computed when it is loaded: whether its modules are of one shape, and what it
will say of itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.engine.composition import (
    Call,
    Expression,
    canonical,
    fusions,
    in_order,
    learnt,
    merges,
    module_names,
    parse,
    rename_modules,
    top,
)
from adapter_stilts.engine.guard import Shapes, named_config, shapes_in
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.engine.native import (
    CONFIG,
    FILES,
    HEADS,
    WEIGHTS,
    check_files,
    head_name,
    read_labels,
)
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import code_digest, text_digest
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.merging.methods import MERGES, Terms, built_in_merges
from adapter_stilts.tasks.registry import built_in
from adapter_stilts.zoo.choice import ModuleReference
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord


@dataclass(frozen=True)
class ResolvedComposition:
    """A composition whose modules have been found; no weights are loaded yet.

    `expression` is over names that are unique within it, `modules` has each of them. `task` chooses
    a head of the topmost module, where that has one for each of several tasks.
    """

    expression: Expression
    modules: Mapping[str, ModuleReference]
    task: str = ""

    @property
    def over_folders(self) -> str:
        """The composition as text, every module by its folder."""
        return canonical(
            rename_modules(self.expression, lambda name: str(self.modules[name].folder))
        )

    @property
    def record(self) -> ModuleRecord:
        """The record of the module whose head is used, with that head's task if one is chosen.

        Where there is no head, one that stands for the whole: sentence vectors are all it is good
        for, of texts as long as any of its modules takes.
        """
        name = top(self.expression)
        if name in self.modules:
            record = self.modules[name].record
            return record.at(self.task) if self.task else record
        for merge in merges(self.expression):
            if canonical(merge) == name:
                return merged_record(merge, self.records)
        records = [reference.record for reference in self.modules.values()]
        longest = max(records, key=lambda each: int(each.recipe["max_length"]))
        return dataclasses.replace(longest, name=name, head=NO_HEAD, run=self.identity, heads={})

    @property
    def choices(self) -> int:
        """How many options its head chooses among; 0 for heads of other kinds."""
        if self.record.head not in KINDS or not get_head(self.record.head).chooses:
            return 0
        assert self.head_folder
        return read_labels(self.head_folder)[1]

    @property
    def head_folder(self) -> Path | None:
        """Where the files of the head that is used lie; None where there is no head."""
        reference = self.modules.get(top(self.expression))
        if reference is None or not self.record.has_head:
            return None
        return reference.folder / HEADS / self.task if self.task else reference.folder

    @property
    def records(self) -> dict[str, ModuleRecord]:
        """The record of every module."""
        return {name: reference.record for name, reference in self.modules.items()}

    @property
    def text(self) -> str:
        """The composition, canonically written, with the task that is chosen."""
        return head_name(canonical(self.expression), self.task)

    @property
    def name(self) -> str:
        """What the whole is called in tables and folders, with the task that is chosen.

        A composition that one of its modules was trained as has that module's name, which is its
        folder's: `tydiqa-on-squad`, however it was written. Others are canonically written.
        """
        if isinstance(self.expression, str):
            return self.text
        mine = over_runs(self.expression, self._runs)
        whole = (
            reference
            for reference in self.modules.values()
            if trained_runs(reference.record) == mine
        )
        own = next((reference.own_name for reference in whole), "")
        return head_name(own, self.task) if own else self.text

    def choosing(self, task: str | None) -> ResolvedComposition:
        """With the head for a task; None leaves open which. Refuses a task without a head."""
        if task is None or task == self.record.task:
            return self
        if self.record.head == NO_HEAD and not self.record.heads:
            raise UserError(f"'{self.text}' has no head, so none can be chosen for '{task}'")
        # A user's own task is known by its module alone.
        name = built_in(task) or task
        if name == self.record.task:
            return self
        self.record.at(name)
        return dataclasses.replace(self, task=name)

    def suiting(self, head: str, labels: Sequence[str] = ()) -> ResolvedComposition:
        """With the head that suits, where the topmost module has several and none is chosen."""
        return self.choosing(self.record.suited_task(head, labels)) if self.record.heads else self

    @property
    def methods(self) -> dict[str, str]:
        """The method of every module, from the bottom up."""
        return {name: self.modules[name].record.method for name in module_names(self.expression)}

    @property
    def backbone(self) -> str:
        """The backbone the modules were trained on, at the same revision."""
        name = self.record.backbone["name"]
        revision = self.record.backbone.get("revision", "")
        return name if not revision or "@" in name else f"{name}@{revision}"

    @property
    def identity(self) -> str:
        """A hash of the modules' runs and how they are composed."""
        return self._hash(self._runs)

    @property
    def content(self) -> str:
        """The same of what is in the modules' files, for what is kept of their outputs."""
        return self._hash(
            {name: reference.record.content for name, reference in self.modules.items()}
        )

    @property
    def _runs(self) -> dict[str, str]:
        return {name: reference.record.run for name, reference in self.modules.items()}

    def _hash(self, meaning: Mapping[str, str]) -> str:
        tree = _tree(rename_modules(self.expression, meaning.__getitem__))
        tree = [tree, self.task] if self.task else tree
        return text_digest(json.dumps(tree, allow_nan=False), 16)

    @property
    def bases(self) -> dict[str, dict[str, str]]:
        """What a module trained on top of this composition records of it."""
        known = {
            name: {"run": reference.record.run, "path": str(reference.folder.absolute())}
            | ({"hub": reference.record.hub} if reference.record.hub else {})
            for name, reference in self.modules.items()
        }
        for each in fusions(self.expression):
            if each.by:
                known[each.by]["fuses"] = canonical(each)
        return known


def as_recorded(record: ModuleRecord) -> Expression:
    """The composition that a module was trained as, over the names of its record."""
    fused = {base["fuses"]: name for name, base in record.bases.items() if "fuses" in base}
    if is_fusion(record.method):
        fused[record.composition] = record.name
    return learnt(parse(record.composition), fused)


def over_runs(expression: Expression, runs: Mapping[str, str]) -> str:
    """An expression over the runs of its modules, whatever these are called."""
    return canonical(in_order(rename_modules(expression, runs.__getitem__)))


def trained_runs(record: ModuleRecord) -> str:
    """The composition that a module was trained as, over runs; empty where it does not say."""
    try:
        runs = {record.name: record.run} | {n: base["run"] for n, base in record.bases.items()}
        return over_runs(as_recorded(record), runs)
    except (UserError, KeyError):
        return ""


def _tree(expression: Expression) -> Any:
    if isinstance(expression, str):
        return expression
    terms = expression.terms and dataclasses.asdict(expression.terms)
    operator: Any = expression.operator
    if terms and operator not in built_in_merges():  # a plug-in's is known by its code
        operator = [operator, code_digest(MERGES[operator].function)]
    return [operator, terms or expression.by, *map(_tree, expression.parts)]


_FREE = ("dropout", "init_weights", "init_weights_seed", "leave_out", "reduction_factor")
"""What modules may differ in, as far as their tensors have the same shapes."""


def check_merged_shapes(resolved: ResolvedComposition) -> None:
    """Refuses merges of modules of unlike shape, by what their files say; reads no weights."""
    for merge in merges(resolved.expression):
        assert merge.terms is not None
        names = module_names(merge)
        lora = get_method(resolved.methods[names[0]]).family == "lora"
        if not lora and (merge.terms.rank or merge.terms.lora != "products"):
            raise UserError(
                f"'{names[0]}' is no LoRA: the options rank and lora of {merge.operator} are "
                "for these"
            )
        for name in names[1:]:
            _check_shape(names[0], name, resolved.modules, merge.terms)


def _check_shape(
    first: str, name: str, modules: Mapping[str, ModuleReference], terms: Terms
) -> None:
    what = f"'{first}' and '{name}' cannot be merged"
    remedy = "train one of them again in the shape of the other"
    mine, theirs = (_shapes(modules[each], terms) for each in (first, name))
    if odd := sorted(mine.keys() ^ theirs.keys()):
        has = first if odd[0] in mine else name
        raise UserError(f"{what}: only '{has}' has {odd[0]} ({remedy})")
    for key, shape in mine.items():
        if shape != theirs[key]:
            ranks = key.endswith(("lora_A", "lora_B"))
            raise UserError(
                f"{what}: {key} has the shape {shape} in one and {theirs[key]} in the other ("
                + ("with lora=products, ranks may differ)" if ranks else f"{remedy})")
            )
    settings = [named_config(modules[each].folder / CONFIG)[1] for each in (first, name)]
    if terms.lora == "products":
        settings = [{k: v for k, v in each.items() if k not in ("r", "alpha")} for each in settings]
    for key in sorted(settings[0].keys() | settings[1].keys()):
        if key not in (*_FREE, "alpha") and settings[0].get(key) != settings[1].get(key):
            raise UserError(
                f"{what}: '{key}' is {settings[0].get(key)} in one and {settings[1].get(key)} in "
                f"the other ({remedy})"
            )


def _shapes(module: ModuleReference, terms: Terms) -> Shapes:
    """The shape of every tensor of a module by its name without that of the module."""
    folder, name = module.folder, module.record.name
    check_files(folder, FILES[:1])
    shapes: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes_in(folder / WEIGHTS).items():
        general = ".".join("*" if part == name else part for part in key.split("."))
        if terms.lora == "products" and general.endswith(("lora_A", "lora_B")):
            shape = shape[1:] if general.endswith("A") else shape[:1]
        shapes[general] = shape
    return shapes


def merged_record(merge: Call, records: Mapping[str, ModuleRecord]) -> ModuleRecord:
    """What is known of a merge before it is computed: that of its modules, but for the head."""
    sources = [records[name] for name in module_names(merge)]
    longest = max(int(each.recipe.get("max_length", 0)) for each in sources)
    written = canonical(merge)
    return dataclasses.replace(
        sources[0],
        name=written,
        run="",
        task="",
        head=NO_HEAD,
        composition=written,
        recipe={"max_length": longest, "stride": sources[0].recipe.get("stride", 0)},
        data={},
        scores={},
        no_answer_threshold=None,
        heads={},
        spec={},
        files={},
        bases={},
    )
