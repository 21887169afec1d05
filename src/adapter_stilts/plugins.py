"""What a user's own code adds: plug-ins, and the calls by which they register things.

A plug-in is code: a file, or an installed package with an entry point. Only what the user named on
the command line, in the environment or by installing a package is run; a module, a record or a
repository never names one. `merging.methods` has the call for merge methods.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from adapter_stilts.engine.methods import BUILT_IN_METHODS, Family, Method, MethodOptions
from adapter_stilts.errors import UserError, shown, unknown
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.metrics import MetricSpec, built_in_metrics
from adapter_stilts.registered import (
    add,
    caller,
    check_call,
    forget,
    name_failures_of,
    note_failure,
    place_of,
    running,
    snapshot,
    summary_of,
    undone_if_it_fails,
)
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec

if TYPE_CHECKING:
    from adapters import AdapterConfig

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])
Name = str
"""What the decorators are given; anything else is refused by them, with its place."""


def register(*things: TaskSpec | TargetSpec | Method | str | Path) -> None:
    """Adds tasks and adapter methods, to be called by their names from then on.

    Args:
        things: a `TaskSpec` (to train on), a `TargetSpec` (to train on and to evaluate), the path
            of a task file (likewise), or a `Method` of adapting the trunk.

    Raises:
        UserError: a name is taken; names both places. Or it is something else.
    """
    place = caller()
    if not things:
        raise UserError(f"{place}: ads.register() has nothing to register")
    for thing in things:
        if isinstance(thing, Method):
            _add_method(thing, place)
        elif isinstance(thing, (str, Path)):
            _add_task_file(Path(thing), place)
        elif isinstance(thing, (TaskSpec, TargetSpec)):
            _add_task(thing, place)
        else:
            raise UserError(
                f"{place}: ads.register() takes a TaskSpec, a TargetSpec, a Method or a task "
                f"file, not {type(thing).__name__}; @ads.metric and @ads.merge_method are for "
                "functions"
            )


@checks_keywords
def metric(
    name: Name, *, heads: str | Sequence[str], primary: str | None = None
) -> Callable[[Function], Function]:
    """Makes a function of predictions and references a metric, which task files can name.

    The function gets two lists of equal length and returns a score in percent, or several by
    name. Of `classification` and `choice` they hold numbers of labels, of `tagging` lists of tags,
    of `span` what `metrics.squad.squad` documents, of `embedding` ranked and right ids.

    Args:
        name: of the metric.
        heads: kind or kinds of head whose predictions it scores.
        primary: which of several scores chooses the weights; by default the one called `name`.

    Raises:
        UserError: the name is taken, or there is no such kind of head.
    """

    if not isinstance(name, str):
        raise UserError(f"{caller()}: {shown(name)} is no name of a metric: a text was expected")

    def decorate(function: Function) -> Function:
        place = place_of(function)
        check_call(function, place, "predictions and references")
        kinds = (heads,) if isinstance(heads, str) else tuple(heads)
        if not kinds:
            raise UserError(f"{place}: the metric '{name}' names no kind of head that it is for")
        for head in kinds:
            if head not in KINDS:
                raise UserError(f"{place}: {unknown('kind of head', head, KINDS)}")
        made = MetricSpec(
            name,
            function,
            primary or name,
            summary_of(function),
            paired=not any(get_head(kind).unique_ids for kind in kinds),
            heads=kinds,
            place=place,
        )
        add("metric", name, made, place, own=name if name in built_in_metrics() else "")
        return function

    return decorate


@checks_keywords
def adapter_method(
    name: Name, *, family: Family = "bottleneck", peft: bool = False, rates_of: str = ""
) -> Callable[[Function], Function]:
    """Makes a function from `MethodOptions` to a configuration of `adapters` a `--method`.

    Args:
        name: of the method.
        family: `bottleneck`, `lora`, `dora` or `ia3`: what it can be stacked and merged with.
        peft: whether its modules are written in peft's format, too.
        rates_of: the method whose usual learning rates it takes; by default the family's.

    Raises:
        UserError: the name is taken, or none is given.
    """
    if not isinstance(name, str):
        what = "a name in brackets is needed, as in @ads.adapter_method('wide')"
        raise UserError(f"{place_of(name)}: {what}")

    def decorate(function: Callable[[MethodOptions], AdapterConfig]) -> Any:
        summary = summary_of(function) or "a method of a plug-in"
        made = Method(name, summary, function, peft, family, rates_of=rates_of or family)
        _add_method(made, place_of(function))
        return function

    return decorate


def _add_method(method: Method, place: str) -> None:
    if method.family not in get_args(Family):
        raise UserError(f"{place}: {unknown('family of methods', method.family, get_args(Family))}")
    if method.family == "fusion" or method.config is None:
        raise UserError(f"{place}: method '{method.name}' needs a configuration of `adapters`")
    if method.rates_of not in BUILT_IN_METHODS:
        method = replace(method, rates_of=method.family)
    name, made = method.name, replace(method, config=_check_config(method, place))
    add("adapter method", name, made, place, own=name if name in BUILT_IN_METHODS else "")


def _check_config(method: Method, place: str) -> Callable[[MethodOptions], AdapterConfig]:
    """The method's function; where it fails, or returns something else, its place is named."""
    make = cast(Callable[[MethodOptions], Any], method.config)
    called = f"{place}: adapter method '{method.name}'"

    def config(options: MethodOptions) -> AdapterConfig:
        from adapters import AdapterConfig, BnConfig, LoRAConfig

        with name_failures_of(called):
            found = make(options)
        if not isinstance(found, AdapterConfig):
            what = type(found).__name__
            raise UserError(f"{called} returns {what}: it must return an AdapterConfig of adapters")
        of_family = BnConfig if method.family == "bottleneck" else LoRAConfig
        if not isinstance(found, of_family):
            what = f"{type(found).__name__}, but methods of the family '{method.family}' return"
            raise UserError(f"{called} returns {what} a {of_family.__name__}")
        return found

    return config


def _add_task(task: TaskSpec | TargetSpec, place: str) -> None:
    from adapter_stilts.tasks.registry import built_in, check_spec, with_identity

    try:
        made = with_identity(check_spec(task))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    add("task", task.name, made, place, own=built_in(task.name))


_NO_METRIC = " no metric of "


def _add_task_file(path: Path, place: str) -> None:
    from adapter_stilts.own.build import load_task_file
    from adapter_stilts.tasks.registry import built_in

    folder = Path(place.rpartition(":")[0]).parent
    found = path.expanduser()
    # A plug-in names its files from where it lies, as a task file does.
    found = found if found.is_absolute() or not (folder / found).is_file() else folder / found
    try:
        own = load_task_file(found)
    except UserError as error:
        order = "; a plug-in's own is to stand above this line"
        raise UserError(f"{place}: {error}{order if _NO_METRIC in str(error) else ''}") from error
    add("task", own.file.name, own.target, place, own=built_in(own.file.name))


GROUP = "adapter_stilts.plugins"
"""The entry points of installed packages: each names a module, or a function without arguments."""
VARIABLE = "ADSTILTS_PLUGINS"
"""Files of plug-ins, with `:` between them (`;` on Windows)."""
_done: dict[str, str] = {}
"""What was run in this process, with the hash of a file as it was then."""


def include(*files: str | Path) -> None:
    """Runs plug-in files, each of them once; one that was edited since is run again.

    Raises:
        UserError: a file is not there, fails, or registers nothing; names file and line.
    """
    for file in files:
        if not isinstance(file, (str, os.PathLike)):
            raise UserError(f"plug-in {shown(file)}: the path of a Python file was expected")
        path = Path(file).expanduser()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise UserError(f"plug-in '{file}' {what}: --include and {VARIABLE} name Python files")
        _include(path.resolve())


def _include(path: Path) -> None:
    key, content = str(path), file_sha256(path)
    if _done.get(key) != content:
        with undone_if_it_fails():
            forget(key)
            _run(key, key, key, lambda: _import(path), content)


def included_files() -> list[str]:
    """The files that were run as plug-ins in this process."""
    return sorted(key for key in _done if not key.startswith(GROUP))


def load_plugins() -> None:
    """Runs what the environment and installed packages add, once a process; refuses as `include`.

    A package whose plug-in fails is left out with a warning: nobody asked for it in this command.
    """
    if GROUP in _done:
        return
    _done[GROUP] = ""  # a plug-in that uses the package comes here again
    try:
        include(*filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
        _load_installed(entry_points(group=GROUP))
    except BaseException:
        _done.pop(GROUP, None)
        raise


def _load_installed(points: Iterable[EntryPoint]) -> None:
    for point in points:
        key = f"{GROUP}:{point.value}"
        of = f" of package {point.dist.name}" if point.dist else ""
        called = f"entry point '{point.value}'{of}"
        if key in _done:
            continue
        try:
            name = point.dist.name if point.dist else point.value
            _run(key, called, name, lambda point=point: _load(point))  # type: ignore[misc]
        except UserError as error:
            remedy = f"`pip uninstall {point.dist.name}` removes it" if point.dist else "remove it"
            logger.warning("%s; %s, and until then it adds nothing", error, remedy)
            note_failure(called)


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


def _run(key: str, called: str, name: str, call: Callable[[], Any], content: str = "") -> None:
    """Runs one plug-in and says where it failed; `called` is its file, or says what it is.

    `name` is the whole path of its file, or the name of its package.
    """
    _done[key] = content
    try:
        with undone_if_it_fails(), running(name):
            before = snapshot()
            _call(called, call)
            if snapshot() == before:
                raise UserError(
                    f"plug-in {called} registers nothing: it is to call ads.register(…), or to "
                    "use @ads.metric, @ads.merge_method or @ads.adapter_method"
                )
    except BaseException:
        _done.pop(key, None)
        raise


def _line_of(error: BaseException, called: str) -> str:
    """Where a plug-in failed: a line of its file, or the first one that an entry point ran."""
    frames = traceback.extract_tb(error.__traceback__)
    if not called.startswith("entry point"):
        line = next((each.lineno for each in reversed(frames) if each.filename == called), None)
        return f"{called}:{line}" if line else called
    ours = (str(Path(__file__).parent), str(Path(importlib.__file__).parent), "<frozen")
    theirs = next((each for each in frames if not each.filename.startswith(ours)), None)
    return f"{called} ({theirs.filename}:{theirs.lineno})" if theirs else called


def _call(called: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except KeyboardInterrupt:
        raise
    except UserError as error:
        if called in str(error):
            raise
        raise UserError(f"{_line_of(error, called)}: {error}") from error
    except SyntaxError as error:
        place = f"{error.filename or called}:{error.lineno or 1}"
        raise UserError(f"{place}: the plug-in is no Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{_line_of(error, called)}: the plug-in fails with {what}: mend it, or leave it out"
        ) from error
