"""Modules from the Hub: downloaded, checked, and kept as folders of their own.

What is downloaded goes through the cache of `huggingface_hub`, which resumes; a module that is
whole and as its record says is then copied to `PULLED/ORG--NAME/COMMIT`, which never changes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.hf_api import ModelInfo

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub.content import discard, git_hash
from adapter_stilts.hub.guard import Promise, guarded
from adapter_stilts.hub.retry import status_of
from adapter_stilts.paths import atomic_folder, pulled_dir
from adapter_stilts.zoo.hub.calls import DamagedDownloadError, explain, patient
from adapter_stilts.zoo.hub.ids import HubId
from adapter_stilts.zoo.hub.offer import Offer, RemoteFile
from adapter_stilts.zoo.record import RECORD, sha256

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 10.0


def fetch(name: str) -> Path:
    """The folder of a module of the Hub, downloaded if it is not here.

    A commit that is here is not asked for again; of a branch, the Hub is asked where it stands,
    and if it does not answer, the last one known is taken.

    Raises:
        UserError: no such module, no access, no connection, or a module that is refused.
        FailureError: the disk is full, or the download is damaged again and again.
    """
    wanted = HubId.parse(name)
    if _COMMIT.fullmatch(wanted.revision) and _is_here(wanted, wanted.revision):
        return wanted.folder / wanted.revision
    try:
        offer = _ask(wanted)
    except Exception as error:
        if status_of(error) is not None or isinstance(error, FailureError):
            raise _explained(wanted, error) from error
        commit = _known_commit(wanted)
        if commit and _is_here(wanted, commit):
            return wanted.folder / commit
        cached = _cached(wanted, commit)
        if cached is None:
            raise _explained(wanted, error) from error
        return _keep(wanted, cached, offline=True)
    return _keep(wanted, offer)


def _explained(wanted: HubId, error: Exception) -> UserError | FailureError:
    known = isinstance(error, UserError | FailureError)
    return error if known else explain(wanted.repo, error)  # type: ignore[return-value]


def _is_here(wanted: HubId, commit: str) -> bool:
    return (wanted.folder / commit / RECORD).is_file()


def _ask(wanted: HubId) -> Offer:
    """What the Hub has at that revision."""
    info = patient(
        wanted.repo,
        lambda: HfApi().model_info(
            wanted.repo, revision=wanted.revision, files_metadata=True, timeout=_SECONDS
        ),
    )
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise FailureError(f"the Hub names no commit for '{wanted.repo}'")
    return Offer(wanted.repo, info.sha, dict(_remote_files(wanted.repo, info)))


def _remote_files(repo: str, info: ModelInfo) -> Iterator[tuple[str, RemoteFile]]:
    for each in info.siblings or ():
        size, sha256_, git = each.size, each.lfs and each.lfs.sha256, each.blob_id
        if not isinstance(each.rfilename, str) or not isinstance(size, int) or size < 0:
            raise FailureError(f"the Hub's list of the files of '{repo}' is of no use")
        yield each.rfilename, RemoteFile(size, str(sha256_ or ""), str(git or ""))


def _known_commit(wanted: HubId) -> str:
    """The commit that the revision was, as noted here or in the library's cache."""
    if _COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    for note in (wanted.note, _cache(wanted) / "refs" / wanted.revision):
        if note.is_file() and _COMMIT.fullmatch(commit := note.read_text("utf-8").strip()):
            return commit
    # Downloads of a commit leave no note of a branch there; one commit alone can be no other.
    commits = [path.name for path in (_cache(wanted) / "snapshots").glob("*")]
    alone = len(commits) == 1 and wanted.revision == constants.DEFAULT_REVISION
    return commits[0] if alone and _COMMIT.fullmatch(commits[0]) else ""


def _cache(wanted: HubId) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{wanted.repo.replace('/', '--')}"


def _cached(wanted: HubId, commit: str) -> Offer | None:
    """What the library's cache has, of whatever program's doing."""
    folder = _cache(wanted) / "snapshots" / commit
    if not commit or not folder.is_dir():
        return None
    files = {
        path.relative_to(folder).as_posix(): RemoteFile(path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Offer(wanted.repo, commit, files)


def _keep(wanted: HubId, offer: Offer, *, offline: bool = False) -> Path:
    """Downloads what is offered, checks it, and copies it to its place."""
    folder = wanted.folder / offer.commit
    files = offer.wanted()
    _check_disk(offer.repo, sum(file.size for file in files.values()))
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(wanted.folder / ".lock"):
        if not _is_here(wanted, offer.commit):
            try:
                _assemble(offer, files, folder, offline=offline)
            except OSError as error:
                raise explain(offer.repo, error) from error
        wanted.note.parent.mkdir(exist_ok=True)
        wanted.note.write_text(offer.commit, encoding="utf-8")
    return folder


def _check_disk(repo: str, size: int) -> None:
    """What is downloaded lies in the cache and then in its own place."""
    place = pulled_dir()
    while not place.is_dir():
        place = place.parent
    if shutil.disk_usage(place).free < 2 * size:
        raise FailureError(f"disk full: '{repo}' needs {2 * size >> 20:,} MB in {place}")


def _assemble(offer: Offer, files: dict[str, RemoteFile], folder: Path, *, offline: bool) -> None:
    from adapter_stilts.zoo.hub.adopt import adopt

    with atomic_folder(folder) as work:
        with guarded() as guard:
            promises = {name: Promise(file.size) for name, file in files.items()}
            guard.expect(offer.repo, offer.commit, promises)
            for name, file in files.items():
                download = partial(_download, offer, name, file, offline=offline)
                path = patient(offer.repo, download)
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, work / name)  # what the cache's link leads to
        try:
            adopt(offer, work)
        except UserError as error:
            # The user has never seen the folder in which it was looked at.
            raise UserError(str(error).replace(str(work), offer.repo)) from error


def _download(offer: Offer, name: str, file: RemoteFile, *, offline: bool) -> Path:
    """A file through the library's cache; what is damaged there is fetched once more.

    Raises:
        DamagedDownloadError: it was damaged the second time too.
    """
    for again in (False, True):
        path = Path(
            hf_hub_download(
                offer.repo,
                name,
                revision=offer.commit,
                local_files_only=offline,
                force_download=again and not offline,
            )
        )
        wrong = _damage(path, file)
        if not wrong:
            return path
        discard(path)
    raise DamagedDownloadError(
        f"'{offer.repo}': {name} arrived damaged twice (its {wrong} is not what the Hub says): "
        "try later"
    )


def _damage(path: Path, file: RemoteFile) -> str:
    """What is wrong with a file; nothing where it is what was listed."""
    if path.stat().st_size != file.size:
        return "length"
    if file.sha256:
        return "" if sha256(path) == file.sha256 else "hash"
    if len(file.git) == 40 and git_hash(path) != file.git:
        return "hash"
    return ""
