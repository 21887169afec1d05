"""Runs the plug-ins that the user names: files, and installed packages with an entry point.

A plug-in is code. Only what the user named on the command line, in the environment or by
installing a package is run; a module, a record or a repository never names one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest
from adapter_stilts.registered import snapshot, undone_if_it_fails

GROUP = "adapter_stilts.plugins"
"""The entry points of installed packages: each names a module, or a function without arguments."""
VARIABLE = "ADSTILTS_PLUGINS"
"""Files of plug-ins, with `:` between them (`;` on Windows)."""
_done: set[str] = set()


def include(*files: str | Path) -> None:
    """Runs plug-in files, each of them once.

    Raises:
        UserError: a file is not there, fails, or registers nothing; names file and line.
    """
    for file in files:
        path = Path(file).expanduser()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise UserError(f"plug-in '{file}' {what}: --include and {VARIABLE} name Python files")
        path = path.resolve()
        if str(path) not in _done:
            _run(str(path), lambda path=path: _import(path))  # type: ignore[misc]


def included() -> list[str]:
    """The files that were run as plug-ins in this process."""
    return sorted(key for key in _done if not key.startswith(GROUP))


def load_plugins() -> None:
    """Runs what the environment and installed packages add, once a process.

    Raises:
        UserError: as of `include`.
    """
    if GROUP in _done:
        return
    _done.add(GROUP)  # a plug-in that uses the package comes here again
    try:
        include(*filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
        _load_installed(entry_points(group=GROUP))
    except BaseException:
        _done.discard(GROUP)
        raise


def _load_installed(points: Iterable[EntryPoint]) -> None:
    for point in points:
        if f"{GROUP}:{point.value}" not in _done:
            _run(f"{GROUP}:{point.value}", lambda point=point: _load(point))  # type: ignore[misc]


def _load(point: EntryPoint) -> None:
    found = point.load()
    if callable(found) and not isinstance(found, ModuleType):
        found()


def _import(path: Path) -> None:
    name = f"adstilts_plugin_{text_digest(str(path), 12)}"
    spec = importlib.util.spec_from_file_location(
        name, path, loader=importlib.machinery.SourceFileLoader(name, str(path))
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickles look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _run(key: str, call: Callable[[], Any]) -> None:
    """Runs one plug-in and says where it failed."""
    called = key if not key.startswith(GROUP) else f"entry point '{key.removeprefix(GROUP)[1:]}'"
    _done.add(key)
    try:
        with undone_if_it_fails():
            before = snapshot()
            _call(called, key, call)
            if snapshot() == before:
                raise UserError(
                    f"plug-in {called} registers nothing: it is to call ads.register(…), or to "
                    "use @ads.metric, @ads.merge_method or @ads.adapter_method"
                )
    except BaseException:
        _done.discard(key)
        raise


def _call(called: str, file: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except (UserError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        place = f"{error.filename or called}:{error.lineno or 1}"
        raise UserError(f"{place}: the plug-in is no Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((each.lineno for each in reversed(frames) if each.filename == file), None)
        place = f"{called}:{line}" if line else called
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{place}: the plug-in fails with {what}: mend it, or leave it out"
        ) from error
