"""Text of many languages as sources of a training: masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.text import TextFile
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.training.batch_sources import BatchSource

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
    from adapter_stilts.training.batch_sources import BatchSource
    from adapter_stilts.training.masking import Masking

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
