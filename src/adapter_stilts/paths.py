"""Where files lie: the cache of converted data and backbones, and the user's zoo."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The folder for what can be made again: `ADSTILTS_CACHE`, or the system's cache folder."""
    given = os.environ.get("ADSTILTS_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("adapter-stilts"))


def zoo_dir() -> Path:
    """The folder for trained modules: `ADSTILTS_ZOO`, or `zoo` in the current folder."""
    return Path(os.environ.get("ADSTILTS_ZOO") or "zoo")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` when the block ends well.

    On an exception the temporary folder is removed and `target` is untouched. An existing
    `target` is replaced.
    """
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    work.chmod(0o755)
    try:
        yield work
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            target.rename(old / target.name)
            work.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
