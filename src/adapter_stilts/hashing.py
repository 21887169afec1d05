"""What identifies content: the SHA-256 of files, of texts, and of what JSON can write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str, digits: int = 64) -> str:
    """The first hex digits of the SHA-256 of a text as UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def json_digest(value: Any) -> str:
    """The SHA-256 of anything that JSON can write; the order of an object's keys does not count."""
    written = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(written.encode()).hexdigest()
