"""Vectors of whole example sets, computed once for a composition and kept on disk."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from filelock import FileLock

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.features import build_features, features_key
from adapter_stilts.hashing import file_sha256, text_digest
from adapter_stilts.heads import PLAIN
from adapter_stilts.inference import vectors as making
from adapter_stilts.inference.vectors import Half, sentence_vectors
from adapter_stilts.paths import atomic_folder, cache_dir
from adapter_stilts.safety import read_json
from adapter_stilts.zoo.local import Composed, activate

logger = logging.getLogger(__name__)

# As imported: the files may be edited while a process runs the old code.
_SOURCE = inspect.getsource(making)
_FILE, _RECORD = "vectors.npy", "vectors.json"


@dataclass(frozen=True)
class Vectors:
    """How texts become vectors of length 1: a composition, a layer and a pooling."""

    engine: Engine
    composed: Composed
    layer: int
    pooling: str
    max_length: int
    batch_tokens: int = 8192

    def of(self, data: ExampleSet) -> Half:
        """Vectors of a set's texts (or of its queries, where it has no texts): (examples, D).

        A memory map of a file in the cache; computed only where it is not there. With the
        composition, the backbone, the precision, the data or this code, the file changes. One that
        is not as it was written is made anew.
        """
        folder = cache_dir() / "vectors" / self._key(data)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            shape = len(data.examples), int(self.engine.model.config.hidden_size)
            found = _read(folder, shape)
            if found is not None:
                return found
            features = features_of(self.engine, data, self.max_length)
            activate(self.engine, self.composed)
            with atomic_folder(folder) as work:
                sentence_vectors(
                    self.engine,
                    features,
                    layer=self.layer,
                    pooling=self.pooling,
                    batch_tokens=self.batch_tokens,
                    path=work / _FILE,
                )
                about = {"sha256": file_sha256(work / _FILE)}  # so that a damaged one is found
                (work / _RECORD).write_text(
                    json.dumps(about, allow_nan=False) + "\n", encoding="utf-8"
                )
            made = _read(folder, shape)
        assert made is not None
        return made

    def _key(self, data: ExampleSet) -> str:
        tokenizer = self.engine.backbone.tokenizer
        parts = [
            _SOURCE,
            features_key(PLAIN, data.fingerprint, tokenizer, max_length=self.max_length),
            self.composed.content,
            self.engine.fingerprint,
            json.dumps([str(self.engine.dtype), self.layer, self.pooling], allow_nan=False),
        ]
        return text_digest("\0".join(parts), 24)


def features_of(engine: Engine, data: ExampleSet, max_length: int) -> datasets.Dataset:
    """The token sequences of a set's texts or queries."""
    return build_features(
        PLAIN, data.examples, data.fingerprint, engine.backbone.tokenizer, max_length=max_length
    )


def _read(folder: Path, shape: tuple[int, int]) -> Half | None:
    """The cached vectors; None where there are none or the file is damaged (then removed)."""
    if not folder.exists():
        return None
    path = folder / _FILE
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        fits = (vectors.shape, vectors.dtype) == ((1, *shape), np.dtype(np.float16))
        if fits and read_json(folder / _RECORD) == {"sha256": file_sha256(path)}:
            found: Half = vectors[0]
            return found
    except (ValueError, OSError, EOFError, UserError):
        pass
    logger.warning("cached vectors in %s are damaged: made again", folder)
    shutil.rmtree(folder, ignore_errors=True)
    return None
