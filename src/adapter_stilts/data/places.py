"""How a complaint names its place."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapter_stilts.errors import UserError

Place = int | str
"""A line number, or words: "question '5733…'". Empty for a file as a whole."""


def located(where: Path | str, place: Place) -> str:
    """The file (or Hub data set) and the place in it, as an error message begins."""
    if place == "":
        return str(where)
    return f"{where}, line {place}" if isinstance(place, int) else f"{where}, {place}"


def bad(where: Path | str, place: Place, what: str) -> UserError:
    """The error for something wrong at that place: always one line."""
    return UserError(f"{located(where, place)}: {' '.join(what.split())}")


def bad_yaml(where: Path | str, error: yaml.YAMLError) -> UserError:
    """The error for a file that is no YAML, with the line where the parser gave up."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", "")
    return bad(where, mark.line + 1 if mark else "", f"not valid YAML: {what}")
