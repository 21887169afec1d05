"""What stands in the identity of a study's runs for the bytes of its backbone and of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED, find_backbone
from adapter_stilts.data.cache import file_digests, remembered
from adapter_stilts.data.load import find_all, origin_of, read_from_of
from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError, hint
from adapter_stilts.evaluation.data import data_sets, resolve_languages
from adapter_stilts.hashing import json_digest, source_digest
from adapter_stilts.paths import is_folder
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.zoo.choice import ModuleReference, has_record, is_of, same_backbone
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.verify import check_stored

BACKBONE = "backbone"
BACKBONE_FILES = ("config.json", "tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")


@dataclass
class Fingerprints:
    """Of everything that a study reads, each computed once.

    `absent` says of what is not here why it is not, by the same words as the fingerprints. A run
    that needs any of that has an empty text in its place, and cannot be done. `languages` are those
    that something was found in to test. `backbone` and `data` are as in a study's file.
    """

    backbone: str
    data: str | None = None
    absent: dict[str, str] = field(default_factory=dict)
    languages: set[str] = field(default_factory=set)
    _known: dict[str, str] = field(default_factory=dict)
    _code: dict[Callable[..., Any], str] = field(default_factory=dict)

    def of_run(self, stage: str, target: str, does: dict[str, Any]) -> dict[str, str]:
        """Those of all that a run reads itself; the runs that it stands on have their own."""
        found = {BACKBONE: self._once(BACKBONE, _backbone, self.backbone)}
        if stage == "intermediate" and not target:
            for task in does["tasks"]:
                name = f"data of {task}"
                found[name] = self._once(name, self._training, [get_task(task)])
            return found
        if stage in ("rate", "target", "intermediate"):
            language = does.get("source_lang", "en")
            name = f"training data of {target}" + ("" if language == "en" else f" in {language}")
            found[name] = self._once(name, self._training, get_target(target).trained_in(language))
        if (below := does.get("below", "none")) != "none":
            found |= self._below(below, does)
        for test in does.get("tests", ()):
            asked = test["task"], test["split"], does["langs"]
            name = f"{test['split']} data of {test['task']}"
            found[name] = self._once(f"{name} in {does['langs']}", self._languages, *asked)
        return found

    def _below(self, below: str, does: dict[str, Any]) -> dict[str, str]:
        """Of the language modules at the bottom: that of the training, and those of the tests."""
        name = below.replace("*", does["source_lang"])
        found = {f"module {name}": self._once(f"module {name}", self._module, name)}
        for test in does.get("tests", ()) if below.endswith("*") else ():
            asked = test["task"], test["split"], does["langs"]
            key = f"modules of the languages of {test['task']}"
            known_as = f"{key}, {test['split']} in {does['langs']}"
            found[key] = self._once(known_as, self._language_modules, *asked)
        return found

    def _once(self, name: str, compute: Callable[..., str], *of: Any) -> str:
        if name not in self._known:
            try:
                self._known[name] = compute(*of)
            except UserError as error:
                self._known[name], self.absent[name] = "", str(error)
        return self._known[name]

    def _module(self, name: str) -> str:
        return ModuleRecord.read(find_module(name, self.backbone)).content

    def _language_modules(self, task: str, split: Split, langs: str | Sequence[str]) -> str:
        found = dict.fromkeys(resolve_languages(get_target(task), langs, split, self.data), "")
        for language in found:
            with suppress(UserError):  # a language without one is not compared
                found[language] = self._module(f"lang:{language}")
        return json_digest(found)[:16]

    def _training(self, stages: Iterable[TaskSpec]) -> str:
        splits: tuple[Split, ...] = ("train", "dev")
        return json_digest([self._set(task, split) for task in stages for split in splits])[:16]

    def _languages(self, task: str, split: Split, langs: str | Sequence[str]) -> str:
        """Of all languages that are here; none of them is no data at all."""
        target = get_target(task)
        found: dict[str, list[str]] = {}
        problem = UserError(f"no {split} data of {task}")
        for language in resolve_languages(target, langs, split, self.data):
            try:
                sets = data_sets(target, language, split, self.data)
                found[language] = [self._set(each, part) for each, part in sets]
            except UserError as error:
                problem = error
        if not found:
            raise problem
        self.languages |= found.keys()
        return json_digest(found)[:16]

    def _set(self, task: TaskSpec, split: Split) -> str:
        """Of one set of examples: the bytes that it is read from, and the code that reads them."""
        parts = find_all(task, split, origin_of(task, self.data))
        if task.to_example not in self._code:
            self._code[task.to_example] = source_digest(task.to_example)
        return json_digest([read_from_of(task, split, parts), self._code[task.to_example]])


def _backbone(name: str) -> str:
    """The bytes of a folder's files; a Hub id stands for itself, with its revision if it has one.

    A backbone on the Hub is fetched by the first run, not by a plan.
    """
    if name != EMBEDDED and not is_folder(Path(name).expanduser()):
        if name.startswith((".", "/", "~")):
            raise UserError(f"backbone folder {name} is not there")
        if meant := hint(name, [EMBEDDED]):
            raise UserError(f"no backbone '{name}': {meant}")
        return name
    folder = find_backbone(name).path
    paths = [folder / each for each in BACKBONE_FILES if (folder / each).is_file()]
    paths += sorted({*folder.glob("*.safetensors"), *folder.glob("*.bin")})
    try:
        return json_digest([[path.name for path in paths], file_digests(paths)])[:16]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error


def weights_of(name: str) -> str:
    """The fingerprint of a backbone's weights, as the records of modules have it.

    It is empty for one on the Hub: a module's name of it is what can be compared.
    """
    if name != EMBEDDED and not is_folder(Path(name).expanduser()):
        return ""
    backbone = find_backbone(name)
    paths = sorted({*backbone.path.glob("*.safetensors"), *backbone.path.glob("*.bin")})
    found: str = remembered(  # it takes seconds to read the weights
        "digests",
        [*paths, backbone.path / "config.json"],
        lambda known: isinstance(known, str),
        lambda: backbone.fingerprint,
        "weights",
    )
    return found


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
    usual = task if get_method(method).name == "bottleneck" else f"{task}-{method}"
    name = module or usual
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
        fit = [each for each in there if is_of(ModuleReference(each), backbone)]
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
