"""Modules on the Hub: found by the tags of their cards, downloaded, checked, and kept as folders.

What is downloaded goes through the cache of `huggingface_hub`, which resumes; a module that is
whole and as its record says is then copied to `PULLED/ORG--NAME/COMMIT`, which never changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from filelock import FileLock
from huggingface_hub import HfApi, constants, scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound, LocalEntryNotFoundError
from huggingface_hub.hf_api import ModelInfo

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.display import html_facts
from adapter_stilts.engine.methods import METHODS
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub import HubId, is_commit
from adapter_stilts.hub.client import Repository, call, download, explain, look, status_of
from adapter_stilts.hub.guard import RemoteFile, guard_downloads
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.paths import atomic_folder, check_replaceable, free_bytes, from_here, pulled_dir
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.zoo.adopt import Offer, adopt
from adapter_stilts.zoo.card import EMBEDDED_TAG, OUR_TAG
from adapter_stilts.zoo.record import RECORD, ModuleRecord


@dataclass(frozen=True, repr=False)
class Pulled:
    """A module from the Hub on this disk, which is found from every folder.

    `path` is its folder, as a whole path, and `record` says all that is known of it. The object is
    accepted wherever a module is named, as in `load(pulled)`.
    """

    path: Path
    record: ModuleRecord

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())

    def __fspath__(self) -> str:
        """The folder of the module: what was pulled can be given wherever a module is named."""
        return str(self.path)

    def __repr__(self) -> str:
        return f"<Pulled {self.record.name}: {from_here(self.path)}>"

    def _repr_html_(self) -> str:
        return html_facts({**self.record.facts(), "folder": self.path}, title=self.record.name)


@checks_keywords
def pull(
    module: str,
    *,
    out: str | Path | None = None,
    backbone: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Pulled:
    """Downloads a module of the Hub, if it is not here, and checks it.

    Its id then names it wherever a module is named; so does the folder `out`, if given.

    Args:
        module: `someone/xlmr-large-squad`, with `@revision` for a branch, a tag or a commit. Also
            modules of AdapterHub and LoRAs of `peft`, if they are safetensors.
        out: a folder to copy it to.
        backbone: refuse a module that was made for another one (`name@revision`).
        overwrite: replace another module at `out`.

    Raises:
        UserError: no such module, no access, no connection, or a module that is refused.
        FailureError: the disk is full, or the download was damaged again and again.
    """
    if out is not None:
        check_replaceable(Path(out))
    folder = fetch(module)
    record = ModuleRecord.read(folder)
    if backbone:
        _check_backbone(module, record, text_of(backbone))
    if out is None:
        return Pulled(folder, record)
    target = Path(out)
    _check_free(target, record, overwrite=overwrite)
    with atomic_folder(target) as work:
        shutil.copytree(folder, work, symlinks=True, dirs_exist_ok=True)
    return Pulled(target, record)


def _check_backbone(name: str, record: ModuleRecord, wanted: str) -> None:
    own, revision = record.backbone.get("name", ""), record.backbone.get("revision", "")
    asked = wanted.partition("@")[2]
    if hub_id(own) != hub_id(wanted) or (asked and revision and asked != revision):
        at = f" at revision {revision}" if revision else ""
        raise UserError(f"'{name}' was made for backbone '{own}'{at}, not for '{wanted}'")


def _check_free(target: Path, record: ModuleRecord, *, overwrite: bool) -> None:
    check_replaceable(target)
    if overwrite or not target.exists():
        return
    if (target / RECORD).is_file():
        if ModuleRecord.read(target).run == record.run:
            return
        raise UserError(f"another module lies at {target}: choose --out or add --overwrite")
    if any(target.iterdir()):
        raise UserError(f"{target} is not empty: choose another --out")


def fetch(name: str) -> Path:
    """The folder of a module of the Hub, downloaded if it is not here.

    A commit that is here is not asked for again; of a branch, the Hub is asked where it stands,
    and if it does not answer, the last one known is taken. Fails as `pull`.
    """
    wanted = HubId.parse(name)
    if is_commit(wanted.revision) and _is_here(wanted, wanted.revision):
        return wanted.folder / wanted.revision
    try:
        commit, files = look(Repository(wanted.repo, revision=wanted.revision))
    except UserError as error:
        if status_of(error) is not None:
            raise
        known = _known_commit(wanted)
        if known and _is_here(wanted, known):
            return wanted.folder / known
        cached = _cached(wanted, known)
        if cached is None:
            raise
        return _keep(wanted, cached, offline=True)
    return _keep(wanted, Offer(wanted.repo, commit, files))


def _is_here(wanted: HubId, commit: str) -> bool:
    return (wanted.folder / commit / RECORD).is_file()


def _known_commit(wanted: HubId) -> str:
    """The commit that the revision was when it was last asked for, as noted here."""
    if is_commit(wanted.revision):
        return wanted.revision
    commit = wanted.note.read_text("utf-8").strip() if wanted.note.is_file() else ""
    return commit if is_commit(commit) else ""


def _cached(wanted: HubId, commit: str) -> Offer | None:
    """What the library's cache has, of whatever program's doing."""
    try:
        folder = Path(
            snapshot_download(
                wanted.repo, revision=commit or wanted.revision, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        # Downloads of a commit leave no note of a branch there; one commit alone can be no other.
        alone = _only_snapshot(wanted) if wanted.revision == constants.DEFAULT_REVISION else None
        if commit or alone is None:
            return None
        folder = alone
    files = {
        path.relative_to(folder).as_posix(): RemoteFile(path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Offer(wanted.repo, folder.name, files) if is_commit(folder.name) else None


def _only_snapshot(wanted: HubId) -> Path | None:
    try:
        found = [
            revision.snapshot_path
            for each in scan_cache_dir(constants.HF_HUB_CACHE).repos
            if (each.repo_type, each.repo_id) == ("model", wanted.repo)
            for revision in each.revisions
        ]
    except CacheNotFound:
        return None
    return found[0] if len(found) == 1 else None


def _keep(wanted: HubId, offer: Offer, *, offline: bool = False) -> Path:
    """Downloads what is offered, checks it, and copies it to its place."""
    folder = wanted.folder / offer.commit
    files = offer.wanted_files()
    # What is downloaded lies in the cache and then in its own place.
    size, place = 2 * sum(file.size for file in files.values()), pulled_dir()
    if free_bytes(place) < size:
        raise FailureError(f"disk full: '{offer.repo}' needs {size >> 20:,} MB in {place}")
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(wanted.folder / ".lock"):
        if not _is_here(wanted, offer.commit):
            try:
                _assemble(offer, files, folder, offline=offline)
            except OSError as error:
                raise explain(Repository(offer.repo), error) from error
        wanted.note.parent.mkdir(exist_ok=True)
        wanted.note.write_text(offer.commit, encoding="utf-8")
    return folder


def _assemble(offer: Offer, files: dict[str, RemoteFile], folder: Path, *, offline: bool) -> None:
    with atomic_folder(folder) as work:
        with guard_downloads() as guard:
            # Of the sizes alone: what has another hash is fetched once more.
            sizes = {name: RemoteFile(file.size) for name, file in files.items()}
            guard.expect(offer.repo, offer.commit, sizes)
            repository = Repository(offer.repo, revision=offer.commit)
            for name, file in files.items():
                path = download(repository, name, file, cached_only=offline)
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, work / name)  # what the cache's link leads to
        try:
            adopt(offer, work)
        except UserError as error:
            # The user has never seen the folder in which it was looked at.
            raise UserError(str(error).replace(str(work), offer.repo)) from error


_BASE = "base_model:"


@dataclass(frozen=True)
class Hit:
    """A repository, as far as its tags describe it."""

    repo: str
    task: str
    method: str
    backbone: str
    licence: str
    downloads: int
    updated: str


def search(
    text: str = "",
    *,
    backbone: str = "",
    task: str = "",
    language: str = "",
    anybody: bool = False,
    limit: int = 30,
) -> list[Hit]:
    """The modules on the Hub that fit, the most downloaded first, `limit` at most.

    `text` are words in the repository's name. `anybody` finds other programs' adapters, too, not
    only what was pushed from here. Fails where the Hub cannot be reached.
    """
    wanted = ["adapters" if anybody else OUR_TAG, task, language]
    if backbone == EMBEDDED:
        wanted.append(EMBEDDED_TAG)
    elif backbone:
        wanted.append(f"{_BASE}{hub_id(backbone)}")
    filters = [each for each in wanted if each]
    found = call(
        Repository(text or "a search"),
        lambda: list(
            HfApi().list_models(
                filter=filters, search=text or None, sort="downloads", direction=-1, limit=limit
            )
        ),
    )
    return [_hit(model) for model in found]


def _hit(model: ModelInfo) -> Hit:
    tags = [str(tag) for tag in model.tags or ()]
    bases = [tag.removeprefix(_BASE) for tag in tags if tag.startswith(_BASE)]
    plain = [base for base in bases if ":" not in base]
    embedded = EMBEDDED if EMBEDDED_TAG in tags else ""
    return Hit(
        repo=model.id,
        task=_first(tags, [*intermediate_tasks(), *target_tasks()]),
        method=_first(tags, METHODS),
        backbone=_first(plain) or embedded,
        licence=_first([t.removeprefix("license:") for t in tags if t.startswith("license:")]),
        downloads=model.downloads or 0,
        updated=model.last_modified.date().isoformat() if model.last_modified else "",
    )


def _first(tags: Iterable[str], known: Iterable[str] | None = None) -> str:
    allowed = None if known is None else set(known)
    return next((tag for tag in tags if allowed is None or tag in allowed), "")
