"""Modules as folders: finding, writing and loading them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.errors import UserError, suggest
from adapter_stilts.modules.composition import Expression
from adapter_stilts.modules.engine import Engine, activate_block, copy_weights
from adapter_stilts.modules.fusing import fusion_files, load_fusion, save_fusion
from adapter_stilts.modules.guard import check_contents, check_widths
from adapter_stilts.modules.heads import load_heads, save_heads
from adapter_stilts.modules.methods import get_method, is_fusion
from adapter_stilts.modules.native import FILES, check_files, load_native, save_native
from adapter_stilts.modules.peft_format import has_peft_format, save_peft
from adapter_stilts.paths import atomic_folder, zoo_dir
from adapter_stilts.safety import brief
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.foreign_folder import adopt_folder, is_foreign
from adapter_stilts.zoo.hub.fetch import fetch
from adapter_stilts.zoo.hub.ids import is_hub_id
from adapter_stilts.zoo.languages import find_language, is_language
from adapter_stilts.zoo.places import by_name, found_modules, has_record
from adapter_stilts.zoo.record import RECORD, ModuleRecord


def save_module(engine: Engine, record: ModuleRecord, head: HeadKind, folder: Path) -> ModuleRecord:
    """Writes weights, head, record and card; the folder appears whole or not at all.

    A module of several tasks has the heads of its record, whatever `head`.
    """
    with atomic_folder(folder) as work:
        if is_fusion(record.method):
            save_fusion(engine, record.name, work, called=record.bases)
        else:
            save_native(engine, record.name, work)
            save_heads(engine, record.name, record.heads, work)
        peft = get_method(record.method).peft and has_peft_format(engine.model.config.model_type)
        if peft:
            # Of several heads peft's format can hold none: it has the LoRA for the plain trunk.
            kind: HeadKind = "embedding" if record.heads or not record.has_head else head
            save_peft(engine, record.name, kind, work / "peft")
        for path in work.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors lets nobody but the owner read what it writes
        write_card(record, work, peft=peft)
        return record.write(work)


def load_module(
    engine: Engine, folder: Path, *, name: str | None = None, sources: Sequence[Expression] = ()
) -> ModuleRecord:
    """Adds a module from its folder to an engine and activates it with its head.

    `sources` are what a fusion is over, as expressions over names in the engine.

    Raises:
        UserError: no module there, made for another backbone, or damaged.
    """
    record = ModuleRecord.read(folder)
    _check_backbone(engine, record, folder)
    fusion, name = is_fusion(record.method), name or record.name
    own = record.has_head
    check_files(folder, fusion_files(folder, head=own) if fusion else FILES[: 1 + own])
    record.verify(folder)
    check_contents(folder, record.method)
    with _one_line(folder):
        if fusion:
            load_fusion(engine, folder, name, sources, head=own)
        else:
            config = engine.model.config
            check_widths(folder, int(config.hidden_size), int(config.intermediate_size))
            load_native(engine, folder, name, head=own)
            load_heads(engine, name, record.heads, folder)
    return record


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Whatever the library makes of a folder that nobody could have expected."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = brief(error) or type(error).__name__
        raise UserError(f"{folder}: cannot be loaded ({why})") from error


def _check_backbone(engine: Engine, record: ModuleRecord, folder: Path) -> None:
    own = {"name": engine.backbone.name, "fingerprint": engine.fingerprint}
    if same_backbone(record.backbone, own):
        return
    made_for, revision = record.backbone.get("name"), record.backbone.get("revision")
    raise UserError(
        f"module {folder} was made for backbone '{made_for}'"
        f"{f' at revision {revision}' if revision else ''} (fingerprint "
        f"{record.backbone.get('fingerprint')}), not for '{engine.backbone.name}' "
        f"({engine.fingerprint}): load it with --backbone {made_for}"
    )


def same_backbone(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two modules were made for the same weights, as far as is known.

    Modules of other programs have no fingerprint: the Hub's names decide, and then the shapes.
    """
    prints = {each.get("fingerprint", "") for each in (one, other)}
    if "" not in prints:
        return len(prints) == 1
    names = {hub_id(each.get("name", "")).lower() for each in (one, other)}
    local = any("/" not in name or name.startswith((".", "/", "~")) for name in names)
    return len(names) == 1 or (local and EMBEDDED not in names)


def start_from(engine: Engine, name: str, folder: Path) -> None:
    """Sets a new module's weights, and its head's, to those of a module on disk.

    Raises:
        UserError: the module there has another shape.
    """
    active, head = engine.model.active_adapters, engine.model.active_head
    other = f"{name}-start"
    load_module(engine, folder, name=other)
    same = copy_weights(engine, other, name, head_only=False)
    engine.model.delete_adapter(other)
    if other in engine.model.heads:
        engine.model.delete_head(other)
    del engine.modules[other]
    activate_block(engine, active, head or name)
    if not same:
        raise UserError(f"{folder} has another shape than the module that is to start from it")


def find_module(name: str) -> Path:
    """The folder of a module: a path, a name in a zoo (`squad`, `embedded/squad`), a Hub id.

    `lang:sw` is the module of a language. A folder that plain `adapters` or `peft` wrote is copied
    to the cache, where it gets a record. A Hub id (`someone/xlmr-squad`, with `@revision` if need
    be) is pulled where it is not here.

    Raises:
        UserError: there is none, or several backbones have one of that name.
    """
    if has_record(Path(name)):
        return Path(name)
    if is_language(name):
        return find_language(name)
    found = by_name(name)
    if len(found) == 1:
        return found[0].folder
    if found:
        options = ", ".join(each.name for each in found)
        raise UserError(f"module '{name}' exists for several backbones: choose from {options}")
    if is_foreign(Path(name)):
        return adopt_folder(Path(name))
    if Path(name).is_dir():
        raise UserError(f"folder {name} has no {RECORD}: not a module")
    known = list(found_modules())
    local = [each for each in known if each.place != "hub"]
    if is_hub_id(name) and name.partition("/")[0] not in {
        each.folder.parent.name for each in local
    }:
        return fetch(name)
    near = suggest(name, [each.folder.name for each in local])
    near = near or suggest(name, [each.name for each in known])
    if near:
        raise UserError(f"no module '{name}': did you mean '{near[0]}'?")
    raise UserError(f"no module '{name}' in {zoo_dir()} and no such folder: {_way_to_have(name)}")


def _way_to_have(name: str) -> str:
    """The command that trains a task's module; for other names, the one that shows what is here."""
    for command, get in (("train-adapter", get_task), ("train-target", get_target)):
        with contextlib.suppress(UserError):
            return f"train it with `adstilts {command} {get(name).name}`"
    return "`adstilts zoo list` shows what is here"
