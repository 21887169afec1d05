"""Text of many languages that is read besides tasks, for masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.data.formats import read_lines
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest


@dataclass(frozen=True)
class Text:
    """What is read for masked language modelling, and its part of all batches."""

    folder: Path
    files: tuple[TextFile, ...]
    share: float

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        return {"share": self.share, "files": [[each.language, each.sha256] for each in self.files]}


@dataclass(frozen=True)
class TextFile:
    """The text of one language: its lines without the empty ones, and a hash of these."""

    language: str
    lines: tuple[str, ...]
    sha256: str


def read_text(folder: Path) -> tuple[TextFile, ...]:
    """The text in every file of a folder that ends in `.txt`, by the files' names.

    Raises:
        UserError: there is no such folder, no such file in it, or one that is empty or not UTF-8.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise UserError(f"text folder '{folder}' {what}")
    files = sorted(path for path in folder.glob("*.txt") if path.is_file())
    if not files:
        raise UserError(f"text folder '{folder}' has no .txt file: one a language, such as sw.txt")
    return tuple(map(_read, files))


def _read(path: Path) -> TextFile:
    try:
        lines = tuple(text for _, line in read_lines(path) if (text := line.strip()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not lines:
        raise UserError(f"{path}: the file has no text")
    return TextFile(path.stem, lines, text_digest("\n".join(lines)))
