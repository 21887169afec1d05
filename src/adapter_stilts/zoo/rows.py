"""From inputs to feature columns, and from a head's predictions to what a person is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapter_stilts.features.answers import Answer, answer_text
from adapter_stilts.features.edges import inner
from adapter_stilts.inference.predictions import Predictions
from adapter_stilts.tasks.spec import HeadKind

Inputs = Sequence[Mapping[str, Any]]
"""One mapping an input, with the field names of `zoo.inputs.FIELDS`."""


def columns_of(kind: HeadKind, rows: Inputs) -> dict[str, list[Any]]:
    """The inputs as columns of the head kind's example type.

    A question that belongs to a choice is read before every option, as Cosmos QA has it after
    its story.
    """
    if kind == "choice":
        options = [
            [f"{row.get('question', '')} {option}".strip() for option in row["options"]]
            for row in rows
        ]
        return {"prompt": [row["prompt"] for row in rows], "options": options}
    if kind == "classification":
        pairs = [(row["text_a"], row.get("text_b", "")) for row in rows]
        return {"text_a": [a for a, _ in pairs], "text_b": [b for _, b in pairs]}
    if kind == "embedding":
        return {
            "query": [""] * len(rows),
            "text": [row["text"] for row in rows],
            "context": [row.get("context", "") for row in rows],
        }
    names = ("question", "context") if kind == "span" else ("words",)
    return {name: [row[name] for row in rows] for name in names}


def told(
    rows: Inputs, found: Predictions, *, labels: Sequence[str], threshold: float | None
) -> Iterator[dict[str, Any]]:
    """What is said of every input.

    Args:
        labels: label names by number, for classification.
        threshold: how much better no answer has to be than the best span; None: never given.
    """
    for place, (row, value) in enumerate(zip(rows, found.values, strict=True)):
        if found.kind == "span":
            yield _answer(value, row["context"], threshold)
        elif found.kind == "tagging":
            yield {"tags": list(zip(row["words"], value, strict=True))}
        elif found.kind == "embedding":
            yield {"vector": [float(number) for number in value]}
        else:
            assert found.scores is not None
            yield _scored(found.kind, row, value, found.scores[place], labels)


def _answer(found: Answer, context: str, threshold: float | None) -> dict[str, Any]:
    if not found.spans or (threshold is not None and found.no_answer > threshold):
        return {"answer": "", "start": -1, "score": found.null_score}
    best = found.spans[0]
    begin, _ = inner(context, best.begin, best.end)
    return {"answer": answer_text(context, best), "start": begin, "score": best.score}


def _scored(
    kind: HeadKind, row: Mapping[str, Any], best: int, scores: list[float], labels: Sequence[str]
) -> dict[str, Any]:
    if kind == "choice":
        return {"choice": best, "option": row["options"][best], "probabilities": scores}
    pairs = sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])
    return {"labels": dict(pairs)}
