"""Options of commands that are taken from the Python functions: names, types, defaults and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge

from adapter_stilts.keywords import descriptions


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
