"""The commands that pages of the documentation show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Every `adstilts` command of a page's blocks, in words, up to a `>`."""
    for kind, block in BLOCK.findall(page.read_text("utf-8")):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines() if not kind else ():
            for part in re.split(r" ; | \| |^\$ ", line):
                if part.strip().startswith("adstilts "):
                    words = shlex.split(part, comments=True)[1:]
                    yield words[: words.index(">")] if ">" in words else words
