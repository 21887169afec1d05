"""What a plug-in calls for tasks, metrics and adapter methods; see `merging.registry`, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adapter_stilts.engine.methods import BUILT_IN_METHODS, Family, Method, MethodOptions
from adapter_stilts.errors import UserError, unknown
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.metrics import MetricSpec, built_in_metrics
from adapter_stilts.registered import add, caller, place_of, summary_of
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec

if TYPE_CHECKING:
    from adapters import AdapterConfig

Function = TypeVar("Function", bound=Callable[..., Any])


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


def metric(
    name: str, *, heads: Sequence[str], primary: str | None = None
) -> Callable[[Function], Function]:
    """Makes a function of predictions and references a metric, which task files can name.

    The function gets two lists of equal length and returns a score in percent, or several by
    name. Of `classification` and `choice` they hold numbers of labels, of `tagging` lists of tags,
    of `span` what `metrics.squad.squad` documents, of `embedding` ranked and right ids.

    Args:
        name: of the metric.
        heads: kinds of head whose predictions it scores.
        primary: which of several scores chooses the weights; by default the one called `name`.

    Raises:
        UserError: the name is taken, or there is no such kind of head.
    """

    def decorate(function: Function) -> Function:
        place = place_of(function)
        for head in heads:
            if head not in KINDS:
                raise UserError(f"{place}: {unknown('kind of head', head, KINDS)}")
        own = MetricSpec(
            name,
            function,
            primary or name,
            summary_of(function),
            paired=not any(get_head(kind).unique_ids for kind in heads),
            heads=tuple(heads),
            place=place,
        )
        add("metric", name, own, place, known=lambda it: it if it in built_in_metrics() else "")
        return function

    return decorate


def adapter_method(
    name: str, *, family: Family = "bottleneck", peft: bool = False, rates_of: str = ""
) -> Callable[[Function], Function]:
    """Makes a function from `MethodOptions` to a configuration of `adapters` a `--method`.

    Args:
        name: of the method.
        family: `bottleneck`, `lora`, `dora` or `ia3`: what it can be stacked and merged with.
        peft: whether its modules are written in peft's format, too.
        rates_of: the method whose usual learning rates it takes; by default the family's.

    Raises:
        UserError: the name is taken.
    """

    def decorate(function: Callable[[MethodOptions], AdapterConfig]) -> Any:
        summary = summary_of(function) or "a method of a plug-in"
        made = Method(name, summary, function, peft, family, rates_of=rates_of or family)
        _add_method(made, place_of(function))
        return function

    return decorate


def _add_method(method: Method, place: str) -> None:
    if method.family == "fusion" or method.config is None:
        raise UserError(f"{place}: method '{method.name}' needs a configuration of `adapters`")
    if method.rates_of not in BUILT_IN_METHODS:
        method = replace(method, rates_of=method.family)

    def known(name: str) -> str:
        return name if name in BUILT_IN_METHODS else ""

    add("adapter method", method.name, method, place, known=known)


def _add_task(task: TaskSpec | TargetSpec, place: str) -> None:
    from adapter_stilts.tasks.registry import built_in, target_with_identity, with_identity

    own = with_identity(task) if isinstance(task, TaskSpec) else target_with_identity(task)
    add("task", task.name, own, place, known=built_in)


def _add_task_file(path: Path, place: str) -> None:
    from adapter_stilts.own.build import load_task_file
    from adapter_stilts.tasks.registry import built_in

    folder = Path(place.rpartition(":")[0]).parent
    found = path.expanduser()
    # A plug-in names its files from where it lies, as a task file does.
    found = found if found.is_absolute() or not (folder / found).is_file() else folder / found
    own = load_task_file(found)
    add("task", own.file.name, own.target, place, known=built_in)
