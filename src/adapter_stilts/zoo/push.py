"""Modules for others: on the Hub, as they are, or for plain `adapters` and plain `peft`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo
from jinja2 import UndefinedError

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.engine.native import FILES, NATIVE_CONFIG, NATIVE_WEIGHTS, check_weights, halve
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.hub import HubId, is_hub_id
from adapter_stilts.hub.client import Repository, call, download
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.paths import atomic_folder, check_replaceable
from adapter_stilts.safety import Line, Lines, Shape, check_shape, first_line, is_number, read_json
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.provenance import RECIPE, write_recipe
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve_folder
from adapter_stilts.zoo.verify import check_stored

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")


@dataclass(frozen=True)
class Pushed:
    """Where a module lies on the Hub: its repository, the commit that was made, and its page."""

    repo: str
    commit: str
    url: str


@checks_keywords
def push(
    module: Composition,
    to: str,
    *,
    private: bool = False,
    branch: str | None = None,
    backbone: str | PathLike[str] | None = None,
    scores: str | Path | None = None,
    overwrite: bool = False,
) -> Pushed:
    """Uploads a module with its card; what is on the Hub already is not sent again.

    Args:
        module: its name, or its folder.
        to: the repository, such as `someone/xlmr-large-squad`; it is made if it is not there.
        private: make it so that only its owner sees it.
        branch: where to write, in place of `main`.
        backbone: chooses among modules of one name; and the Hub's id of the backbone, for a module
            trained on one in a folder.
        scores: a folder of predictions that `evaluate` wrote for this module: the card shows
            its scores.
        overwrite: replace what the repository holds, even where it is something else.

    Raises:
        UserError: no such module, a damaged one, no write access, or the repository holds
            something else.
        FailureError: the Hub failed again and again.
    """
    if to.startswith((".", "/", "~")):
        raise UserError(
            f"'{to}' is a folder, and a module is pushed to the Hub: `adstilts zoo export "
            f"{as_text(module)} --out {to} --format module` writes it there"
        )
    wanted = HubId.parse(to)
    if "@" in to:
        raise UserError(f"'{to}': a revision cannot be written; give --branch")
    backbone = text_of(backbone)
    folder = find_module(as_text(module), backbone)
    record = shareable(folder, backbone)
    if scores is not None:
        record = dataclasses.replace(record, evaluations=evaluations(folder, Path(scores)))
    with tempfile.TemporaryDirectory(prefix="adstilts-push-") as work:
        stage(record, folder, Path(work), repo=wanted.repo)
        return _upload(record, Path(work), wanted.repo, private, branch, overwrite)


def _upload(
    record: ModuleRecord,
    work: Path,
    repo: str,
    private: bool,
    branch: str | None,
    overwrite: bool,
) -> Pushed:
    api, repository = HfApi(), Repository(repo)
    there = _there(api, repo)
    if there and not overwrite:
        _check_kind(there, record, repo)
    if there is None:
        call(
            repository,
            lambda: api.create_repo(repo, private=private or None, exist_ok=True),
            writes=True,
        )
    if branch:
        call(repository, lambda: api.create_branch(repo, branch=branch, exist_ok=True), writes=True)
    commit = call(
        repository,
        lambda: api.upload_folder(
            repo_id=repo,
            folder_path=work,
            revision=branch,
            commit_message=f"Upload {record.name} ({record.method}, {record.task})",
            # What an earlier module had and this one has not would be taken for a part of it.
            delete_patterns=["*.json", "*.safetensors", RECIPE],
        ),
        writes=True,
    )
    return Pushed(repo, str(commit.oid), f"{api.endpoint}/{repo}")


def _there(api: HfApi, repo: str) -> ModelInfo | None:
    """What the repository holds; None where there is no such repository, or none that one sees."""

    def ask() -> ModelInfo | None:
        try:
            return api.model_info(repo, timeout=10.0)
        except RepositoryNotFoundError:
            return None

    return call(Repository(repo), ask, writes=True)


def _check_kind(there: ModelInfo, record: ModuleRecord, repo: str) -> None:
    """Refuses to write over something else than an earlier state of the module."""
    names = {each.rfilename for each in there.siblings or ()}
    if RECORD in names:
        other = read_json(download(Repository(repo, revision=str(there.sha)), RECORD))
        if isinstance(other, dict) and _kind(other) == _kind(dataclasses.asdict(record)):
            return
        known = " ".join(_kind(other)[:3]) if isinstance(other, dict) else "something else"
        raise UserError(
            f"'{repo}' holds another module ({known}): choose another id, or add --overwrite"
        )
    taken = sorted(name for name in names if name.endswith(_WEIGHTS))
    if taken:
        raise UserError(
            f"'{repo}' holds something else ({taken[0]}): choose another id, or add --overwrite"
        )


def _kind(fields: Mapping[str, object]) -> tuple[str, ...]:
    backbone = fields.get("backbone")
    known = backbone if isinstance(backbone, dict) else {}
    texts = [fields.get(key) for key in ("name", "method", "task")]
    return (*map(str, texts), str(known.get("fingerprint")))


def shareable(folder: Path, backbone: str | None) -> ModuleRecord:
    """The record without the paths of this machine; refuses what others cannot use or have."""
    record = ModuleRecord.read(folder)
    check_stored(record, folder)
    for name in record.files:
        if name.endswith(".safetensors"):
            check_weights(folder / name)
    if not record.task:
        raise UserError(f"{folder} was not trained here: share it from where it comes from")
    name = place_of(backbone, record.backbone.get("name", ""))
    if name != EMBEDDED and (Path(name).exists() or not is_hub_id(hub_id(name))):
        raise UserError(
            f"{folder} was trained on a backbone in the folder {name}, which others do not have: "
            "give its id on the Hub as --backbone"
        )
    return dataclasses.replace(_cleaned(record), backbone={**record.backbone, "name": name})


def _cleaned(record: ModuleRecord) -> ModuleRecord:
    """The record without the places of data, files and modules; it still names the backbone."""
    bases = {key: {**base, "path": base.get("hub", "")} for key, base in record.bases.items()}
    clean: dict[str, Any] = {
        name: {key: _without_paths(value) for key, value in getattr(record, name).items()}
        for name in ("data", "heads", "merged", "recipe", "command")
    }
    return dataclasses.replace(record, bases=bases, origin={}, **clean)


_BACKBONE_IN = {
    "adapter_config.json": ("model_name", "base_model_name_or_path"),
    "adapter_fusion_config.json": ("model_name",),
    "head_config.json": ("model_name",),
}
"""Where the libraries write down the backbone: a folder, if it was loaded from one."""


def stage(
    record: ModuleRecord, folder: Path, work: Path, *, repo: str = "", half: bool = False
) -> ModuleRecord:
    """Copies a module as others are to see it: the files that its record names, and a new card.

    `record` is what `shareable` made of it, `repo` where it will lie on the Hub; with `half`,
    weights are stored in half precision. Returns the record with the hashes of the copy; refuses
    one that lacks what the card tells.
    """
    for name in record.files:
        copy = work / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy)
        if half and copy.suffix == ".safetensors":
            halve(copy)
        try:
            _name_backbone(copy, hub_id(record.backbone["name"]))
        except AttributeError as error:
            raise UserError(f"{folder / name}: no configuration of a module") from error
    with _told(folder):
        write_recipe(record, work)
        write_card(record, work, peft=(work / "peft").is_dir(), repo=repo)
    return record.write(work)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Names the record where it lacks what the card or the recipe tells."""
    try:
        yield
    except (UndefinedError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / RECORD}: what a card tells is not there as it should be "
            f"({first_line(error)}): share the module from where it comes from"
        ) from error


def _name_backbone(path: Path, name: str) -> None:
    fields = _BACKBONE_IN.get(path.name, ())
    if fields:
        about = read_json(path)
        about.update({key: name for key in fields if about.get(key)})
        path.write_text(
            json.dumps(about, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def _without_paths(value: object) -> object:
    """What a record says of data, without the folders it lay in."""
    if isinstance(value, dict):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    is_path = isinstance(value, str) and (value.startswith(("/", "~", ".")) or value[1:3] == ":\\")
    return os.path.basename(str(value)) if is_path else value  # noqa: PTH119


class _Entry(Shape):
    labelled: bool
    scores: dict[Line, Any]


class _Evaluation(Shape):
    composition: Lines
    results: dict[Line, dict[Line, dict[Line, _Entry]]]


def evaluations(folder: Path, predictions: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by task and language that `evaluate` wrote; refuses another composition's."""
    path = predictions / "evaluation.json"
    about = check_shape(_Evaluation, read_json(path), path)
    if about.composition.get("identity") != resolve_folder(folder).identity:
        raise UserError(f"{path} has the scores of another composition than {folder}")
    found = {
        task: {
            language: {key: value for key, value in entry.scores.items() if is_number(value)}
            for language, entry in splits.get("test", {}).items()
            if entry.labelled
        }
        for task, splits in about.results.items()
    }
    return {task: languages for task, languages in found.items() if languages}


CARD = "README.md"
FORMATS = ("adapters", "peft", "module")
_NATIVE = (*FILES, (NATIVE_WEIGHTS, NATIVE_CONFIG))
_PEFT = ["peft/adapter_config.json", "peft/adapter_model.safetensors"]


def export(
    folder: Path,
    out: Path,
    *,
    library: str = "adapters",
    half: bool = False,
    backbone: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a module for others, without the paths of this machine.

    Args:
        library: `adapters` (what `load_adapter` takes), `peft` (what `PeftModel.from_pretrained`
            takes, of LoRAs), or `module` (with its record, for this package's zoos).
        half: store weights in half precision, in half the room.
        backbone: of a `module` that was trained on a backbone in a folder: its id on the Hub.
        overwrite: replace what lies at `out`.
    """
    if library not in FORMATS:
        raise unknown("format", library, FORMATS)
    record = ModuleRecord.read(folder)
    check_stored(record, folder)
    names = [] if library == "module" else _plain_files(folder, record, library)
    check_replaceable(out)
    if out.exists() and not overwrite and any(out.iterdir()):
        raise UserError(f"{out} is not empty: choose another --out, or add --overwrite")
    with atomic_folder(out) as work:
        if library == "module":
            stage(shareable(folder, backbone), folder, work, half=half)
            return out
        for name in names:
            if name == CARD:
                continue
            if name.endswith(".safetensors"):
                check_weights(folder / name)
            copy = work / Path(name).name
            shutil.copyfile(folder / name, copy)
            if half and copy.suffix == ".safetensors":
                halve(copy)
        if CARD in names:
            with _told(folder):
                write_card(_cleaned(record), work, peft=(folder / "peft").is_dir())
    return out


def _plain_files(folder: Path, record: ModuleRecord, library: str) -> list[str]:
    """What of a module's files a library loads, and the card; refuses what it cannot express."""
    native_fusion = NATIVE_WEIGHTS in record.files and library == "adapters"
    if is_fusion(record.method) and not native_fusion:
        raise UserError(f"{folder} is a fusion of its own kind: no other library can load it")
    names = _PEFT if library == "peft" else [name for pair in _NATIVE for name in pair]
    found = [name for name in (*names, CARD) if name in record.files]
    if library == "peft" and not set(found) >= set(_PEFT):
        raise UserError(
            f"{folder} is no LoRA ({record.method}), so peft cannot load it: --format adapters"
        )
    return found
