"""Options that several commands share: written by hand, or taken from the Python functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge

from adapter_stilts.cli.results import print_json
from adapter_stilts.display import scores_line
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.options import (
    Asked,
    EvaluationOptions,
    ExplanationOptions,
    ReadingOptions,
    SuiteOptions,
)
from adapter_stilts.keywords import descriptions
from adapter_stilts.paths import from_here
from adapter_stilts.training.options import DataOptions, RunOptions, Settings, TrainingOptions
from adapter_stilts.training.recipe import Recipe

if TYPE_CHECKING:
    from adapter_stilts.training.run import Series, Trained


DATA = typer.Option(
    None,
    "--data",
    help="hub, sample (bundled), or a folder with the official files. Default: $ADSTILTS_DATA, "
    "else hub.",
)
TASK = typer.Option(
    None, "--task", metavar="FILE", help="In place of a name, a task file of your own (YAML)."
)
TAGS = typer.Option(
    None,
    "--tags",
    help="For tagging: a tag set of your own in place of the task's, as O,B-MISC,I-MISC.",
)
BACKBONE = typer.Option(
    None,
    "--backbone",
    help="Whose module, where several backbones have one of that name; or where the backbone lies "
    "now, if it has moved.",
)
JSON = typer.Option(False, "--json", help="Print as JSON.")
_SEEDS = typer.Option(
    None, "--seeds", help="Several, as 0,1,2: a module for each, NAME, NAME-s1 and NAME-s2."
)
_PYTHON_ONLY = ("quiet", "series")
"""What `--json` and `--seeds` decide."""
_FOR_CALLERS = ("flat", "on_language", "on_examples", "engines", "layer_rule")


def derived_options(
    options: type, defaults: type | None, about: Sequence[type], *, without: Sequence[str] = ()
) -> Iterator[inspect.Parameter]:
    """The options of a function as parameters of a command.

    Args:
        options: the `TypedDict` of the function's options, or a dataclass of them. A type such as
            `Annotated[int, Ge(1)]` bounds what is accepted.
        defaults: the dataclass with their defaults; what it lacks is None.
        about: the classes whose docstrings describe them.
        without: those that the command has no use for.
    """
    usual = {each.name: each.default for each in (fields(defaults) if defaults else ())}
    texts = descriptions(*about)
    for name, kind in _hints(options).items():
        if name not in without:
            text = texts[name]  # which may begin with a value, as it is typed
            help_ = (text[0].upper() + text[1:]).replace("`", "")
            option = typer.Option(usual.get(name), flag(name), help=help_, **_bounds(kind))
            yield parameter(name, option, _on_a_command_line(kind))


def _hints(options: type) -> dict[str, Any]:
    """The types of a `TypedDict`; those that are imported for type checkers alone are any."""
    unknown = dict.fromkeys(("OnLanguage", "Progress", "Engines"), Any)
    return get_type_hints(options, localns=unknown, include_extras=True)


def _bounds(kind: Any) -> dict[str, Any]:
    """The least and the greatest value that a type has."""
    bounds = (bound for each in _members(kind) for bound in getattr(each, "__metadata__", ()))
    return dict(("min", each.ge) if isinstance(each, Ge) else ("max", each.le) for each in bounds)


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of which a value may be."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _on_a_command_line(kind: Any) -> Any:
    """How a value of a Python type is typed: a path, a number, a switch, texts, or else a text."""
    given = _members(kind)
    types = [get_args(each)[0] if get_origin(each) is Annotated else each for each in given]
    members = [each for each in types if each is not type(None)]
    optional = type(None) in types
    if set(members) <= {str, Path} and Path in members:
        return Path | None if optional else Path
    for known in (bool, int, float):
        if known in members:
            return known | None if optional else known
    if str not in members and Sequence[str] in members:
        return list[str] | None if optional else list[str]
    return str | None if optional else str


def flag(name: str) -> str:
    """The option of a keyword: `--dev-file` of `dev_file`."""
    return f"--{name.replace('_', '-')}"


def parameter(name: str, option: Any, kind: Any) -> inspect.Parameter:
    """A keyword of a command's function that is an option."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=option, annotation=kind)


def with_options(
    command: Callable[..., Any], run: Callable[..., None], added: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    """The function that typer calls: `run`, with the own parameters of a command and added ones."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    kept = [
        each.replace(kind=each.KEYWORD_ONLY)
        for each in (*own, *added)
        if each.kind is not each.VAR_KEYWORD
    ]
    kept.sort(key=lambda each: each.name == "as_json")

    @functools.wraps(command)
    def call(**given: Any) -> None:
        run(**given)

    call.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in kept}
    return call


def one_task(named: str | None, file: str | None) -> str:
    """The task that is named, or that has a file; neither and both are refused."""
    if named and file:
        raise UserError(f"'{named}' and --task {file}: name one task")
    if not (named or file):
        raise UserError("no task is named: `adstilts tasks` lists them, --task takes a task file")
    return str(named or file)


def training_options(
    command: Callable[..., Any], options: type = TrainingOptions
) -> Callable[..., None]:
    """A command with its own parameters and the shared ones, which it gets as keywords.

    These are the `TypedDict` of its options. What it returns is printed, by the first process.
    """
    about = (Recipe, RunOptions, DataOptions, TrainingOptions)
    shared = derived_options(options, Settings, about, without=_PYTHON_ONLY)
    own = [parameter("seeds", _SEEDS, str | None), parameter("as_json", JSON, bool)]

    def run(**given: Any) -> None:
        as_json = given.pop("as_json")
        seeds = given.pop("seeds")
        if seeds is None:
            show(command(**given, quiet=as_json), as_json=as_json)
            return
        from adapter_stilts.training.run import parse_seeds, train_seeds

        if given.pop("seed"):
            raise UserError("--seed and --seeds: give one of them")
        made = train_seeds(command, seeds=parse_seeds(seeds), **given, quiet=as_json)
        show_series(made, as_json=as_json)

    return with_options(command, run, [*shared, *own])


def json_of(trained: Trained) -> dict[str, Any]:
    """Where the module lies, and its whole record."""
    tested = {"test_scores": trained.test_scores} if trained.test_scores else {}
    return {"path": str(trained.path), **asdict(trained.record), **tested}


def show_series(made: Series, *, as_json: bool) -> None:
    """Prints what came out of the trainings of several seeds, and mean ± standard deviation."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    if as_json:
        scores = {metric: each.as_dict() for metric, each in made.scores.items()}
        content = {"name": made.name, "seeds": list(made.trained), "scores": scores}
        modules = [json_of(each) for each in made.trained.values()]
        print_json({**content, "modules": modules}, indent=None)
        return
    for each in made.trained.values():
        show(each, as_json=False)
    seeds = ", ".join(map(str, made.trained))
    scores_ = ", ".join(f"{metric} {each}" for metric, each in made.scores.items())
    typer.echo(f"{made.name}: dev {scores_} (mean ± sd of the seeds {seeds})")


def show(trained: Trained, *, as_json: bool) -> None:
    """Prints what came out of a training."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    record = trained.record
    if as_json:
        print_json(json_of(trained), indent=None)
        return
    early = f" (stopped early, {record.planned_steps} were planned)" if record.stopped_early else ""
    typer.echo(
        f"{trained.path.name}: dev {scores_line(record.scores)} at step {record.best_step} of "
        f"{record.steps}{early}; {record.parameters:,} parameters; "
        f"{record.seconds:,.0f} s; peak memory {record.peak_memory_mb:,.0f} MB"
    )
    if trained.test_scores:
        typer.echo(f"{trained.path.name}: test {scores_line(trained.test_scores)}")
    if record.heads:
        typer.echo(
            f"one module with {len(record.heads)} heads: {record.parameters:,} parameters; "
            f"{len(record.heads)} modules of one task each would have {record.parameters_apart:,}"
        )
    typer.echo(f"module: {from_here(trained.path)}")


def evaluation_options(
    command: Callable[..., Any], options: type = EvaluationOptions, *, without: Sequence[str] = ()
) -> Callable[..., None]:
    """A command with its own parameters and those of `evaluate`, which it gets as keywords.

    These are the `TypedDict` of its options, `without` those that it has no use for.
    """
    about = (ReadingOptions, ExplanationOptions, SuiteOptions, EvaluationOptions)
    added = derived_options(options, Asked, about, without=(*_FOR_CALLERS, *without))
    return with_options(command, command, added)
