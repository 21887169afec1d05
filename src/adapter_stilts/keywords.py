"""Checks of what is given to the public functions: an unknown keyword gets "did you mean"."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, Unpack, get_args, get_origin

from adapter_stilts.errors import UserError, hint

_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", re.MULTILINE)
P = ParamSpec("P")
R = TypeVar("R")


class UnknownKeywordError(UserError, TypeError):
    """A function was given a keyword that it does not have."""


def checks_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function name the nearest known keyword where an unknown one is given.

    The options that it takes as `Unpack[...]` of a `TypedDict` become part of its signature, so
    that `help` and the completion of a notebook list them.
    """
    signature = _with_options(function)

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        for name in given:
            if name not in signature.parameters:
                raise unknown_keyword(function.__name__, name, signature.parameters)
        return function(*args, **given)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def unknown_keyword(function: str, name: str, known: Iterable[str]) -> UnknownKeywordError:
    """The error for a keyword that a function does not have."""
    meant = hint(name, known, f"it has {', '.join(known)}", limit=2)
    return UnknownKeywordError(f"{function}() has no keyword '{name}': {meant}")


def _with_options(function: Callable[..., Any]) -> inspect.Signature:
    """The signature with every option as a keyword of its own; `...` stands for its default."""
    found = inspect.signature(function)
    parameters = list(found.parameters.values())
    if not parameters or parameters[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return found
    names = function.__globals__
    annotation = eval(str(parameters[-1].annotation), names)
    assert get_origin(annotation) is Unpack, function
    (options,) = get_args(annotation)
    expanded = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=...,
            annotation=getattr(kind, "__forward_arg__", kind),
        )
        for name, kind in options.__annotations__.items()
    ]
    return found.replace(parameters=[*parameters[:-1], *expanded])


def descriptions(*classes: type) -> dict[str, str]:
    """What the docstrings of some classes say of every attribute, by its name."""
    found: dict[str, str] = {}
    for each in classes:
        _, _, section = (inspect.getdoc(each) or "").partition("Attributes:\n")
        for names, text in _ATTRIBUTE.findall(section):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found
