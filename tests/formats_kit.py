"""What tests of the readers of files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts.data.formats import read_rows
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.spec import FileFormat

Writer = Callable[[str, str | bytes], Path]
"""Writes a file of that name."""


def complaint(path: Path, form: FileFormat) -> str:
    """What the reader says of the file, without the file's folder."""
    with pytest.raises(UserError) as caught:
        list(read_rows(path, form))
    said = str(caught.value)
    assert "\n" not in said
    return said.removeprefix(str(path))
