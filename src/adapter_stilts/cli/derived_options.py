"""Options of commands that are taken from the Python functions: names, types, defaults and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from adapter_stilts.keywords import descriptions


def derived_options(
    options: type, defaults: type | None, about: Sequence[type], *, without: Sequence[str] = ()
) -> Iterator[inspect.Parameter]:
    """The options of a function as parameters of a command.

    Args:
        options: the `TypedDict` of the function's options.
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
            option = typer.Option(usual.get(name), flag(name), help=help_)
            yield parameter(name, option, _on_a_command_line(kind))


def _hints(options: type) -> dict[str, Any]:
    """The types of a `TypedDict`; those that are imported for type checkers alone are any."""
    unknown = dict.fromkeys(("OnLanguage", "Progress", "Engines"), Any)
    return get_type_hints(options, localns=unknown)


def _on_a_command_line(kind: Any) -> Any:
    """How a value of a Python type is typed: a path, a number or a switch, and else a text."""
    members = [each for each in get_args(kind) if each is not type(None)] or [kind]
    optional = type(None) in get_args(kind)
    if set(members) <= {str, Path} and Path in members:
        return Path | None if optional else Path
    for known in (bool, int, float):
        if known in members:
            return known | None if optional else known
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
