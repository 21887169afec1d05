"""Text of many languages as sources of a training: masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.formats import read_lines
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest

if TYPE_CHECKING:
    from adapter_stilts.training.batching import BatchSource

LONGEST = 256
"""Tokens a sequence at most, where nothing is said."""


@dataclass(frozen=True)
class Text:
    """What is read for masked language modelling, and its part of all batches."""

    folder: Path
    files: tuple[TextFile, ...]
    share: float

    def decides(self) -> dict[str, Any]:
        """What of it decides the weights."""
        return {"share": self.share, "files": [[each.language, each.sha256] for each in self.files]}


def text_sources(
    text: Text, head: str, backbone: Backbone, *, max_length: int, seed: int, normalise: bool
) -> tuple[BatchSource, ...]:
    """One source a language; all learn through one head.

    Raises:
        UserError: a file whose lines have no two tokens, or a backbone without a mask token.
    """
    import datasets

    from adapter_stilts.features.build import build_features
    from adapter_stilts.training.batching import BatchSource, Masking

    masking = Masking.of(backbone.tokenizer, seed)
    length = backbone.sequence_length(max_length or LONGEST)
    classes = len(backbone.tokenizer) if normalise else None
    sources = []
    for file in text.files:
        features = build_features(
            "text",
            datasets.Dataset.from_dict({"text": list(file.lines)}),
            file.sha256,
            backbone.tokenizer,
            max_length=length,
        )
        if not len(features):
            raise UserError(f"{text.folder / file.language}.txt: no line has two tokens")
        sources.append(BatchSource(head, features, len(features), classes, masking))
    return tuple(sources)


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
