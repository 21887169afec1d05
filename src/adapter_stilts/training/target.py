"""Training for a target task, on top of modules learnt before, or learning a fusion of these."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import DEFAULT_BACKBONE, find_backbone
from adapter_stilts.compositions import Composition, as_text, as_texts
from adapter_stilts.data.load import find_all, origin_of
from adapter_stilts.data.parts import with_files
from adapter_stilts.engine.composition import (
    EACH_LANGUAGE,
    NONE,
    UNLEARNT,
    Call,
    build_fusion,
    canonical,
    rename_modules,
)
from adapter_stilts.engine.methods import (
    DEFAULT_METHOD,
    LORAS_ALONE,
    METHODS,
    NOT_SHARED,
    get_method,
    is_fusion,
)
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.paths import is_folder, zoo_dir
from adapter_stilts.tasks.languages import choose_language
from adapter_stilts.tasks.registry import get_target, intermediate_tasks
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.options import Settings, TrainingOptions
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.run import Trained, check_recipe, train
from adapter_stilts.training.spec import (
    TrainingSpec,
    choose_recipe,
    default_folder,
    module_name,
    warn_of_other_method,
)
from adapter_stilts.zoo.choice import (
    ModuleReference,
    is_of,
    place_of,
    readable,
    series_folders,
    usual_folder,
    without_seed,
)
from adapter_stilts.zoo.provenance import is_own, named
from adapter_stilts.zoo.resolve import check_fit, resolve
from adapter_stilts.zoo.resolved_composition import ResolvedComposition


@checks_keywords
def train_target(
    task: str | Path | TargetSpec | TaskSpec,
    *,
    on: Composition = NONE,
    fresh_head: bool = False,
    source_lang: str = "en",
    tags: str | Sequence[str] | None = None,
    backbone: str | PathLike[str] | None = None,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Trains a module for a target task on top of a composition, and writes it to disk.

    Everything below the new module stays as it is (Phang et al. 2020, with adapters in place of
    copies of the model). A target whose usual training has several stages (XCOPA: Social IQa, then
    COPA) leaves a module of each earlier stage beside its own, named after it. Files of your own
    take the place of the last stage's data.

    Args:
        task: the name of a target task, such as `tydiqa`, the path of a task file, or a spec.
        on: the composition to stack the module on, such as `squad`; `none` is the baseline. In it,
            `lang:*` is the module of `source_lang`.
        fresh_head: begin with a new head even where the one below is of the same kind and labels.
        source_lang: the language of the training data (Turc et al. 2021).
        tags: for tagging, a tag set of your own in place of the task's.
        backbone: by default that of `on`, or XLM-R Large; chooses among modules of one name.
        options: see `TrainingOptions`.

    Raises:
        UserError: as of `train_adapter`; an unknown or incomplete composition; no training data
            in that language.
    """
    target = get_target(task)
    if tags is not None:
        target = target.with_tags(tags)
    source_lang = source_language(target, source_lang, text_of(options.get("data")))
    stages = target.trained_in(source_lang)
    on = as_text(on).replace(EACH_LANGUAGE, f"lang:{source_lang}")
    backbone = text_of(backbone)
    below = resolve(on, backbone) if on.strip() != NONE else None
    place = place_of(backbone, below.backbone) if below else backbone or DEFAULT_BACKBONE
    spec = TrainingSpec((), below, fresh_head, named=(named(task),))
    return train_stages(spec, stages, place, options)


def source_language(target: TargetSpec, written: str, data: str | None) -> str:
    """The language learnt from, as the task or its files call it; refuses one that is not there."""
    if target.identity and written == "en":  # the default is the language of its training data
        written = target.train_languages[0]
    where = origin_of(target, data)

    def has_files(code: str) -> bool:
        with suppress(UserError):
            return all(find_all(stage, "train", where) for stage in target.trained_in(code))
        return False

    return choose_language(written, target.train_languages, None if where == "hub" else has_files)


def train_stages(
    spec: TrainingSpec, stages: Sequence[TaskSpec], backbone: str, options: TrainingOptions
) -> Trained:
    """Trains one stage after the other, each from the weights of the one before.

    Every earlier stage leaves a module beside that of the last one, named after it. Files of the
    user's own are those of the last stage. `spec` is what all stages share.
    """
    *earlier, last = stages
    staged = [*earlier, with_files(last, Settings.of(options).files)]
    specs = [
        dataclasses.replace(spec, tasks=(task,), staged=len(stages) > 1, start=None)
        for task in staged
    ]
    before: TrainingOptions = {**options}
    before.pop("test_file", None)
    for each in specs[:-1]:
        check_recipe(each, before)
    method = check_recipe(specs[-1], options).method
    settings = Settings.of(options)
    if settings.out:
        folder = Path(settings.out)
    else:  # as `train` does it
        name, found = module_name(specs[-1], method), find_backbone(backbone)
        folder = default_folder(found, name, spec.on, settings.seed)
    for place in series_folders(folder, settings.seed, settings.series):
        check_free(place, resume=settings.resume, overwrite=settings.overwrite)
    start: Path | None = None
    for each in specs[:-1]:
        out = folder.with_name(f"{folder.name}.{each.name}")
        # Of the same settings it is kept, as an interrupted one is continued.
        own: TrainingOptions = {"out": out, "series": (), "resume": not settings.overwrite}
        made = train(dataclasses.replace(each, start=start), backbone, {**before, **own})
        start = made.path
    return train(dataclasses.replace(specs[-1], start=start), backbone, {**options, "out": folder})


ALL = "all"
"""In place of names: every module of an intermediate task in the zoo, of one method."""
KINDS = tuple(name.removeprefix("fusion-") for name in METHODS if is_fusion(name))


@checks_keywords
def fuse(
    sources: Composition | Sequence[Composition],
    target: str | Path | TargetSpec | TaskSpec | None,
    *,
    kind: str | None = None,
    fresh_head: bool = False,
    source_lang: str = "en",
    tags: str | Sequence[str] | None = None,
    backbone: str | PathLike[str] | None = None,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Learns a fusion of modules on a target's English data (Pfeiffer et al. 2021).

    The modules stay as they are; attention over them and a head are learnt. The result is a
    module, `stack(fuse(...), target)` a composition that can be trained on top of it. A target of
    several stages leaves a fusion of each earlier one, as `train_target` does.

    Args:
        sources: names, folders or ids of two or more modules of one kind on one backbone, or
            stacks of such; their order does not matter. `all`: every module of an intermediate
            task in the zoo, of the method that `method` names.
        target: a target task, such as `tydiqa`, the path of a task file, or a spec.
        kind: `full` (AdapterFusion's own query, key and value matrices), `lean` (low-rank query
            and key, no value), `shared` (lean, one for all layers), `uniform` (the mean; only
            the head is learnt) or `arrow` (LoRAs chosen by each token's input; likewise); by
            default that of the recipe, or `lean`. Of LoRAs, `full` is
            `lean`: they have no full-width fusion.
        fresh_head: begin with a new head even where a source has one of the same kind and labels;
            otherwise it is that of the first such source, by name.
        source_lang: the language of the training data.
        tags: for tagging, a tag set of your own in place of the task's.
        backbone: chooses among modules of one name; and where it lies, if it has moved.
        options: see `TrainingOptions`; `rank` is that of queries and keys.

    Raises:
        UserError: as of `train_adapter`; unknown modules, one named twice, or of different kinds
            or backbones; a target without training data.
    """
    recipe, kind = _recipe_and_kind(options.get("recipe", "default"), kind)
    backbone = text_of(backbone)
    on = _sources(sources, options.get("method"), backbone)
    families = {get_method(each).family for each in on.methods.values()}
    if kind == "shared" and "lora" in families:
        raise UserError(NOT_SHARED)
    if kind == "arrow" and families != {"lora"}:
        raise UserError(LORAS_ALONE)
    stages = _stages(on, target, kind, source_lang, tags, text_of(options.get("data")))
    own: TrainingOptions = {**options, "recipe": recipe, "method": f"fusion-{kind}"}
    place = place_of(backbone, on.backbone)
    assert target is not None
    spec = TrainingSpec((), on, fresh_head, fuses=True, named=(named(target),))
    return train_stages(spec, stages, place, own)


def _recipe_and_kind(recipe: str | PathLike[str] | Recipe, kind: str | None) -> tuple[Recipe, str]:
    """The recipe, and the kind of fusion, as given or else the recipe's; refuses unknown kinds."""
    chosen = choose_recipe(recipe, {}, usual="fusion")
    warn_of_other_method(recipe, f"fusion-{kind}" if kind in KINDS else None)
    if kind is None:
        kind = chosen.method.removeprefix("fusion-") if is_fusion(chosen.method) else "lean"
    if kind not in KINDS:
        raise unknown("kind of fusion", kind, KINDS)
    return chosen, kind


def _sources(
    sources: Composition | Sequence[Composition], method: str | None, backbone: str | None
) -> ResolvedComposition:
    if sources == ALL:
        kind = get_method(method or DEFAULT_METHOD).name
        return resolve_sources(all_sources(kind, backbone), backbone)
    if method:
        raise UserError("a fusion has no method: it takes that of its modules (see --kind)")
    return resolve_sources(as_texts(sources), backbone)


def _stages(
    on: ResolvedComposition,
    target: str | Path | TargetSpec | TaskSpec | None,
    kind: str,
    source_lang: str,
    tags: str | Sequence[str] | None,
    data: str | None,
) -> tuple[TaskSpec, ...]:
    """The stages of the target's training; refuses to go without, and says what works so."""
    assert isinstance(on.expression, Call)
    parts = on.expression.parts
    mean = canonical(build_fusion(*parts, operator="uniform"))
    if target is None and kind in UNLEARNT:
        itself = canonical(build_fusion(*parts, operator=kind))
        raise UserError(
            f'"{itself}" needs no training: give it to --with or --on in place of a module\'s name'
        )
    if target is None:
        raise UserError("a fusion is learnt on a task's data: name one with --target")
    task = get_target(target)
    if tags is not None:
        task = task.with_tags(tags)
    if not task.training:
        raise UserError(
            f"{task.name} has no training data to learn a fusion on: evaluate it with a fusion "
            f'learnt on another target (--target xnli, then --with "{canonical(on.expression)}"), '
            f'or with all weighed the same, which needs no training (--with "{mean}")'
        )
    return task.trained_in(source_language(task, source_lang, data))


def resolve_sources(names: Sequence[str], backbone: str | None = None) -> ResolvedComposition:
    """The modules, or stacks of them, that a new fusion is to fuse; refuses one, and unlike ones.

    `backbone` chooses among modules of one name.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"'{name}' is named twice: a fusion takes every module once")
    if len(names) < 2:
        commas = any("," in name and "(" not in name for name in names)
        hint = ": put spaces between their names, no commas" if commas else ""
        raise UserError(f"a fusion needs at least 2 modules{hint}")
    return check_fit(_side_by_side([resolve(name, backbone) for name in names]))


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
        rename_modules(part.expression, lambda name, part=part: called(name, part.modules[name]))  # type: ignore[misc]
        for part in parts
    ]
    return ResolvedComposition(build_fusion(*expressions), found)


_ByTask = dict[tuple[str, str], dict[str, ModuleReference]]
"""By backbone and method: the module of every task."""


def all_sources(method: str, backbone: str | None = None, *, least: int = 2) -> tuple[str, ...]:
    """The folders of all modules of intermediate tasks in the zoo that are of one method.

    Of several for one task it is one: that without a seed in its name, or of the lowest seed.
    `backbone` chooses where there are modules for several, which are refused otherwise. So are
    fewer than `least`: two to be fused, one to be ranked.
    """
    found: _ByTask = defaultdict(dict)
    slugs: dict[str, str] = {}
    moved = bool(backbone) and is_folder(Path(str(backbone)).expanduser())
    fitting, elsewhere = set(), set()
    for reference in readable():
        record = reference.record
        intermediate = is_own(record) or record.task in intermediate_tasks()
        if not intermediate or record.bases or reference.place == "hub":
            continue
        own = bool(backbone) and is_of(reference, str(backbone))
        slug = reference.folder.parent.name
        if backbone and not (own or moved):
            elsewhere.add(slug)
            continue
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
        what += f" in {zoo_dir()}" + (f" for backbone {backbone}" if backbone else "")
        there = _list_sources(found)
        if elsewhere:
            there += f"; there are some for {', '.join(sorted(elsewhere))}"
        raise UserError(
            f"{what}; there {there} (--method and --backbone choose; "
            "`adstilts train-adapter squad` trains one)"
        )
    return folders


def _list_sources(found: _ByTask) -> str:
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
