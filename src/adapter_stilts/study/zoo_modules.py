"""The modules of a zoo that a study stands on: found, checked, and named by their content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError
from adapter_stilts.study.fingerprints import weights_of
from adapter_stilts.zoo.agreement import check_stored
from adapter_stilts.zoo.choice import is_of, same_backbone
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.places import Found, has_record
from adapter_stilts.zoo.record import ModuleRecord

MULTITASK = "multitask"


def find_source(
    task: str,
    method: str,
    seed: int,
    *,
    backbone: str,
    zoo: str | None = None,
    module: str | None = None,
    tasks: Sequence[str] = (),
) -> tuple[Path, str]:
    """The folder of an intermediate module, and a hash of its weights.

    Args:
        task: what it has learnt; `multitask` with the names of `tasks`.
        seed: with 0, a module of another name than the usual one can be given as `module`; of
            other seeds, that name ends in `-s1` and so on.
        zoo: the folder to look in; None for the zoos that all commands look in.

    Raises:
        UserError: there is none; or it is of another task, method, seed or backbone, damaged, or
            has weights that are no finite numbers.
    """
    name = module or _usual_name(task, method)
    name += f"-s{seed}" if seed else ""
    remedy = f"train it, or write `{{task: {task}, module: train}}`"
    if task == MULTITASK:
        remedy = "train it, or write `{arm: multitask, module: train}`"
    given = None if module and has_record(Path(name)) else zoo
    folder = _folder(name, given, backbone, remedy)
    record = ModuleRecord.read(folder)
    wrong = _wrong(record, task, method, seed, backbone, tasks)
    if wrong:
        raise UserError(f"module {folder} {wrong}: {remedy}")
    check_stored(record, folder)
    return folder, record.content


def _usual_name(task: str, method: str) -> str:
    return task if get_method(method).name == "bottleneck" else f"{task}-{method}"


def _folder(name: str, zoo: str | None, backbone: str, remedy: str) -> Path:
    if zoo is None:
        try:
            return find_module(name, backbone).resolve()
        except UserError as error:
            raise UserError(f"{error} (a study's source: {remedy})") from None
    root = Path(zoo).expanduser()
    places = dict.fromkeys([root / name, *sorted(root.glob(f"*/{name}"))])
    there = [each.resolve() for each in places if has_record(each)]
    if len(there) > 1:
        fit = [each for each in there if is_of(Found("zoo", each), backbone)]
        there = fit or there
    if not there:
        raise UserError(f"zoo {root} has no module '{name}': {remedy}")
    if len(there) > 1:
        raise UserError(f"zoo {root} has several modules '{name}': name one backbone's folder")
    return there[0]


def _wrong(
    record: ModuleRecord, task: str, method: str, seed: int, backbone: str, tasks: Sequence[str]
) -> str:
    """What keeps a module from being that source; empty where nothing does."""
    if task == MULTITASK:
        if set(record.heads) != set(tasks):
            learnt = ", ".join(sorted(record.heads)) or record.task
            return f"has learnt other tasks than the study's ({learnt})"
    elif record.task != task:
        return f"has learnt {record.task}, not {task}"
    if get_method(record.method).name != get_method(method).name:
        return f"is of method {record.method}, not {method}"
    if (own := record.recipe.get("seed", 0)) != seed:
        return f"was trained from seed {own}, not {seed}"
    wanted = {"name": backbone, "fingerprint": weights_of(backbone)}
    if not same_backbone(record.backbone, wanted):
        return f"was made for another backbone ({record.backbone.get('name')}) than {backbone}"
    return ""


__all__ = ["MULTITASK", "find_source"]
