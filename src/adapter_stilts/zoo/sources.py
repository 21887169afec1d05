"""What a new fusion is to fuse: modules and stacks that are named, or all there are of a kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from adapter_stilts.engine.composition import fused, renamed
from adapter_stilts.errors import UserError
from adapter_stilts.paths import is_folder, zoo_dir
from adapter_stilts.tasks.registry import intermediate_tasks
from adapter_stilts.zoo.choice import ModuleReference, is_of, readable
from adapter_stilts.zoo.known_task import is_own
from adapter_stilts.zoo.names import usual_folder, without_seed
from adapter_stilts.zoo.resolve import checked, resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


def resolve_sources(names: Sequence[str], backbone: str | None = None) -> ResolvedComposition:
    """The modules, or stacks of modules, that a new fusion is to fuse.

    `backbone` chooses among modules of one name.

    Raises:
        UserError: as `resolve`; or only one is named, or they are of different kinds.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"'{name}' is named twice: a fusion takes every module once")
    if len(names) < 2:
        commas = any("," in name and "(" not in name for name in names)
        hint = ": put spaces between their names, no commas" if commas else ""
        raise UserError(f"a fusion needs at least 2 modules{hint}")
    return checked(_side_by_side([resolve(name, backbone) for name in names]))


def _side_by_side(parts: Sequence[ResolvedComposition]) -> ResolvedComposition:
    """One fusion over all; modules of different runs with one name are called by their folders."""
    runs: dict[str, set[str]] = defaultdict(set)
    folders: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for name, reference in part.modules.items():
            runs[name].add(reference.record.run)
            folders[reference.folder.name].add(reference.record.run)

    def called(name: str, reference: ModuleReference) -> str:
        if len(runs[name]) == 1:
            return name
        own = reference.folder.name
        taken = len(folders[own]) > 1 or (own != name and own in runs)
        return str(reference.folder) if taken else own

    found = {
        called(n, reference): reference for part in parts for n, reference in part.modules.items()
    }
    expressions = [
        renamed(part.expression, lambda name, part=part: called(name, part.modules[name]))  # type: ignore[misc]
        for part in parts
    ]
    return ResolvedComposition(fused(*expressions), found)


_ByTask = dict[tuple[str, str], dict[str, ModuleReference]]
"""By backbone and method: the module of every task."""


def all_sources(method: str, backbone: str | None = None, *, least: int = 2) -> tuple[str, ...]:
    """The folders of all modules of intermediate tasks in the zoo that are of one method.

    Of several for one task it is one: that without a seed in its name, or of the lowest seed.

    Args:
        backbone: chooses where there are modules for several.
        least: how many there must be: two to be fused, one to be ranked.

    Raises:
        UserError: fewer, or modules of several backbones; says what is there.
    """
    found: _ByTask = defaultdict(dict)
    slugs: dict[str, str] = {}
    moved = bool(backbone) and is_folder(Path(str(backbone)).expanduser())
    fitting = set()
    for reference in readable():
        record = reference.record
        intermediate = is_own(record) or record.task in intermediate_tasks()
        if not intermediate or record.bases or reference.place == "hub":
            continue
        own = bool(backbone) and is_of(reference, str(backbone))
        if backbone and not (own or moved):
            continue
        slug = reference.folder.parent.name
        slug = slugs.setdefault(record.backbone.get("fingerprint") or slug, slug)
        fitting |= {slug} if own else set()
        of_task = found[slug, record.method]
        if _rank(reference) < _rank(of_task.setdefault(record.task, reference)):
            of_task[record.task] = reference
    chosen = {
        slug: sorted(str(reference.folder) for reference in modules.values())
        for (slug, kind), modules in found.items()
        if kind == method and (slug in fitting or not fitting)
    }
    if len(chosen) > 1:
        raise UserError(
            f"{method} modules are there for several backbones ({', '.join(chosen)}): give "
            "--backbone"
        )
    folders = tuple(next(iter(chosen.values()), []))
    if len(folders) < least:
        what = f"at least {least} {method} modules of intermediate tasks are needed"
        if least == 1:
            what = f"no {method} module of an intermediate task is"
        raise UserError(
            f"{what} in {zoo_dir()}; there {_listed(found)} (--method chooses; "
            "`adstilts train-adapter squad` trains one)"
        )
    return folders


def _listed(found: _ByTask) -> str:
    there = "; ".join(
        f"{slug}: {kind}: {', '.join(sorted(each.folder.name for each in modules.values()))}"
        for (slug, kind), modules in sorted(found.items())
    )
    return f"is {there}" if there else "are none"


def _rank(reference: ModuleReference) -> tuple[bool, int, bool, str]:
    """Of modules of one task one without a seed in its name goes first, then the lowest seed.

    Of equals it is the one in the usual folder.
    """
    seed = reference.record.recipe.get("seed")
    lowest = seed if isinstance(seed, int) else 0
    own = reference.folder.name
    return without_seed(own)[1] == lowest > 0, lowest, own != usual_folder(reference.record), own
