"""Where files lie: the cache of converted data and backbones, and the user's zoo."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from adapter_stilts.errors import UserError


def is_folder(path: str | Path) -> bool:
    """Whether a folder lies there; no name is too long to be asked for, as of `Path.is_dir`."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | Path) -> bool:
    """The same of a file."""
    return os.path.isfile(path)  # noqa: PTH113


def from_here(path: Path) -> Path:
    """The path as it is called from the current folder, where it lies in that."""
    here = Path.cwd()
    return path.relative_to(here) if path != here and path.is_relative_to(here) else path


def lies_in(path: Path) -> Path:
    """The path, or the lowest folder above it that is there already."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def free_bytes(path: Path) -> int:
    """The room on the disk where a path lies, or will lie."""
    import shutil

    return shutil.disk_usage(lies_in(path)).free


def cache_dir() -> Path:
    """The folder for what can be made again: `ADSTILTS_CACHE`, or the system's cache folder."""
    given = os.environ.get("ADSTILTS_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("adapter-stilts"))


def zoo_dir() -> Path:
    """The folder for trained modules: `ADSTILTS_ZOO`, or `zoo` in the current folder."""
    return Path(os.environ.get("ADSTILTS_ZOO") or "zoo")


def shared_zoos() -> list[Path]:
    """Folders of modules that are read only: `ADSTILTS_ZOO_PATH`, or `adapters_zoo`.

    The variable holds folders as `PATH` does; empty, it means none. Without it `adapters_zoo` is
    looked for in the current folder, then in the checkout that this package was installed from.
    """
    given = os.environ.get("ADSTILTS_ZOO_PATH")
    if given is not None:
        return [Path(each) for each in given.split(os.pathsep) if each]
    here = Path("adapters_zoo")
    checkout = Path(__file__).resolve().parents[2]
    if not here.is_dir() and (checkout / "pyproject.toml").is_file():
        here = checkout / "adapters_zoo"
    return [here] if here.is_dir() else []


def pulled_dir() -> Path:
    """The folder of modules pulled from the Hub: `ADSTILTS_PULLED`, or `pulled` in the cache."""
    return Path(os.environ.get("ADSTILTS_PULLED") or cache_dir() / "pulled")


_BESIDE = 24
"""Characters that names of temporary folders beside a folder have more than its own."""


def check_writable(folder: Path, option: str = "--out") -> None:
    """Refuses a folder that cannot be made or written to, before the work that would be lost.

    It says which folder is at fault, and by which `option` the user has named it.
    """
    _check_name(folder, option)
    there = lies_in(folder)
    if not there.is_dir():
        below = "" if there == folder else f", and {folder} would lie below it"
        raise UserError(f"{there} is a file{below}: choose another {option}")
    refusal = UserError(f"{there} is read-only for you: choose another {option} than {folder}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise refusal
    try:
        # Rights are not all: nobody can make a folder in /proc, nor on a full disk.
        Path(tempfile.mkdtemp(prefix=".adstilts-", dir=there)).rmdir()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise refusal from error
        raise UserError(
            f"nothing can be written in {there} ({error.strerror}): choose another {option} than "
            f"{folder}"
        ) from error


def check_replaceable(folder: Path, option: str = "--out") -> None:
    """As `check_writable`, also of the folder that it lies in: `atomic_folder` replaces it."""
    if folder.name in ("", ".."):
        raise UserError(f"{option} {folder}: name the folder itself, such as {folder / 'squad'}")
    check_writable(folder, option)
    check_writable(folder.parent, option)
    if folder.is_mount():
        raise UserError(f"{folder} is a mount point: choose a folder in it as {option}")


def _check_name(folder: Path, option: str) -> None:
    """Refuses names that no file system takes, with what is put beside the folder meanwhile."""
    text = str(folder)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UserError(f"{option} {text!r}: the name is not UTF-8") from None
    if "\0" in text:
        raise UserError(f"{option} {text!r}: a name cannot have a NUL character")
    longest = max((len(part.encode()) for part in folder.parts), default=0)
    if longest + _BESIDE > 255 or size + 2 * _BESIDE > 4000:
        raise UserError(f"{option} {text[:40]}…: the name is too long, choose a shorter one")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` when the block ends well.

    On an exception the temporary folder is removed and `target` is untouched. An existing
    `target` is replaced. Of several processes that write the same one, the last one's stays.
    Files and folders can be read by whom the user's umask says.
    """
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    work, old = _make_beside(target), None
    try:
        yield work
        _open_files(work)
        while not _took_place(work, target):
            # It is there, perhaps only just now by another process: moved out of the way.
            old = old or _make_beside(target, ".old")
            with contextlib.suppress(FileNotFoundError):
                target.rename(old / secrets.token_hex(4))
    except BaseException:
        for before in list(old.iterdir()) if old else ():
            _took_place(before, target)
        shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        if old:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary file's path beside `path`, which becomes `path` when the block ends well.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield work
        try:
            work.replace(path)
        except IsADirectoryError as error:  # it names the temporary file
            raise IsADirectoryError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file that appears whole or not at all, readable by whom the user's umask says."""
    with atomic_file(path) as work, work.open("xb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def _make_beside(target: Path, mark: str = "") -> Path:
    """A new folder beside another one. (Folders of `tempfile` are closed to all but the owner.)"""
    while True:
        folder = target.with_name(f".{target.name}{mark}.{secrets.token_hex(4)}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def _open_files(folder: Path) -> None:
    """Gives all files the rights of the folder: safetensors writes for the owner's eyes alone."""
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(rights)


_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def _took_place(work: Path, target: Path) -> bool:
    try:
        work.rename(target)
    except OSError as error:
        if error.errno in _OCCUPIED:
            return False
        raise
    return True
