"""Where files lie: the cache of converted data and backbones, and the user's zoo."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from adapter_stilts.errors import UserError


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


def check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be made, before the work that would be lost.

    Raises:
        UserError: it is a file, lies below one, or below a folder that is read-only.
    """
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        below = "" if there == folder else f", and {folder} would lie below it"
        raise UserError(f"{there} is a file{below}: choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there} is read-only for you: choose another --out than {folder}")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` when the block ends well.

    On an exception the temporary folder is removed and `target` is untouched. An existing
    `target` is replaced. Of several processes that write the same one, the last one's stays.
    """
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    work.chmod(0o755)
    try:
        yield work
        while not _took_place(work, target):
            # It is there, perhaps only just now by another process: moved out of the way.
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            with contextlib.suppress(FileNotFoundError):
                target.rename(old / target.name)
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def _took_place(work: Path, target: Path) -> bool:
    try:
        work.rename(target)
    except OSError as error:
        if error.errno in _OCCUPIED:
            return False
        raise
    return True
