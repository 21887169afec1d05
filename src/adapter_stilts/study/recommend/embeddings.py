"""How alike two tasks are: by their texts, and by what trained modules do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Product = tuple[Floats, Floats]
"""A module's down- and up-projection in one place, (r, d) and (e, r)."""


def cosine(first: Floats, second: Floats) -> float:
    """The cosine of two vectors; 0 where one has no length."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0


def text_similarity(first: Floats, second: Floats) -> float:
    """The cosine of two tasks' mean text vectors.

    TextEmb of Vu et al. 2020, "Exploring and Predicting Transferability across NLP Tasks" (EMNLP):
    the mean of the plain backbone's token vectors over a task's texts. Poth et al. 2021, "What to
    Pre-Train on? Efficient Intermediate Task Selection" (EMNLP), found such vectors of whole texts
    to choose as well as anything that needs labels.

    Args:
        first, second: a vector a text, (texts, d).
    """
    return cosine(first.mean(0), second.mean(0))


def parameter_similarity(first: Mapping[str, Product], second: Mapping[str, Product]) -> float:
    """The cosine of what two modules do, by their weights.

    Trained parameters as a task's embedding: Vu et al. 2022, "SPoT" (ACL), for prompts; Zhou et
    al. 2022, "Efficiently Tuned Parameters Are Task Embeddings" (EMNLP, arXiv:2210.11705), for
    adapters and LoRAs. They compare the weights as they are, from one initialisation. Here the
    products up × down are compared, place by place: these do not depend on how hidden units are
    numbered, and a LoRA is its product. They are not formed: <U1 D1, U2 D2> = sum of
    (U1' U2) * (D1 D2').

    Args:
        first, second: down- and up-projection by place (layer and matrix). A place that one of
            them lacks counts as nothing there.
    """
    shared = sum(_inner(first[place], second[place]) for place in first.keys() & second.keys())
    lengths = [sum(_inner(each, each) for each in one.values()) for one in (first, second)]
    return shared / float(np.sqrt(lengths[0] * lengths[1])) if all(lengths) else 0.0


def _inner(first: Product, second: Product) -> float:
    (down, up), (other_down, other_up) = first, second
    if down.shape[1] != other_down.shape[1] or up.shape[0] != other_up.shape[0]:
        return 0.0
    return float(((up.T @ other_up) * (down @ other_down.T)).sum())
