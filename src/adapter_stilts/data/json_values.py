"""JSON as the readers take it: a value, or one line that says what is wrong with it and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapter_stilts.errors import Place, bad

_KINDS = {list: "a list", dict: "an object", str: "a text", int: "a whole number"}


def load_json(path: Path, place: Place, written: str, expected: str) -> Any:
    """The JSON value written there, whose strings can all be written as UTF-8 again.

    Raises:
        UserError: it is no JSON.
    """
    try:
        value = json.loads(written.rstrip("\r\n"))  # a break at its end is on this line
        if "\\ud" in written.lower():  # an escaped surrogate without its other half
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        what = f"broken JSON ({error.msg} at {line}column {error.colno}); expected {expected}"
        raise bad(path, place, what) from error
    except UnicodeEncodeError as error:
        raise bad(path, place, "half of a surrogate pair (\\ud…) in a string") from error
    except RecursionError as error:
        raise bad(path, place, f"nested too deeply; expected {expected}") from error
    return value


def member(path: Path, place: Place, value: Any, name: str, kind: type, format_name: str) -> Any:
    """That member of an object, of that type.

    Raises:
        UserError: the value is no object, or has no such member of that type.
    """
    if not isinstance(value, dict) or type(value.get(name)) is not kind:
        raise bad(path, place, f"expected an object with {_KINDS[kind]} '{name}' ({format_name})")
    return value[name]
