"""Plain text by language: a folder of `.txt` files, one a language, a sentence or so a line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapter_stilts.errors import UserError, bad
from adapter_stilts.hashing import text_digest


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
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise bad(path, line, f"not UTF-8 ({error.reason}): convert the file") from error
    lines = tuple(stripped for line in text.split("\n") if (stripped := line.strip()))
    if not lines:
        raise UserError(f"{path}: the file has no text")
    content = text_digest("\n".join(lines))
    return TextFile(path.stem, lines, content)
