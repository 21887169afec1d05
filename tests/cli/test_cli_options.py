"""The type of a Python option decides how it is typed on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest
from annotated_types import Ge

from adapter_stilts.cli.options import _on_a_command_line


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (Sequence[str], list[str]),
        (Sequence[str] | None, list[str] | None),
        (Optional[Sequence[str]], list[str] | None),  # noqa: UP045
        (str | Sequence[str] | None, str | None),
        (str | Path | None, Path | None),
        (bool, bool),
        (Annotated[int, Ge(1)] | None, int | None),
        (Annotated[float, Ge(0)], float),
    ],
)
def test_an_option_that_may_be_repeated_is_a_list(kind: Any, typed: Any) -> None:
    assert _on_a_command_line(kind) == typed
