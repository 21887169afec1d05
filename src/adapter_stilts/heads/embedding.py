"""Texts to be found and queries that find them, as token sequences for sentence vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from adapter_stilts.errors import unknown
from adapter_stilts.heads.base import (
    Columns,
    Decoded,
    Encoding,
    Example,
    Features,
    Head,
    Outputs,
    Prediction,
    Rows,
    TaskLike,
    padded_length,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class EmbeddingExample(TypedDict):
    """A text to be found, or what it is to be found by; what an example lacks is empty.

    To train a dual encoder, an example has a `query` and the `text` (with the `context` around
    it) that answers it. To evaluate one, queries have a `query` and in `gold` the ids of the
    candidates that answer it; candidates have a `text` and perhaps a `context`.
    """

    id: str
    query: str
    text: str
    context: str
    gold: list[str]


def _encode(texts: list[Any], tokenizer: PreTrainedTokenizerFast, length: int) -> list[list[int]]:
    encoded = tokenizer(texts, truncation="longest_first", max_length=length)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


class _Embedding(Head):
    name = "embedding"
    columns = {"id": "text", "query": "text", "text": "text", "context": "text", "gold": "texts"}
    gold = "gold"
    unique_ids = True
    has_weights = False
    peft_task = "FEATURE_EXTRACTION"
    pipeline = "sentence-similarity"
    inputs = ("query", "text", "context")
    needs = ("text",)
    takes = ("context",)
    parts = ("query", "text")
    optional_parts = ("context", "id")
    metrics = ("map_at_20",)
    category = "retrieval"

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses an example without a text; of those to learn from, one without both sides."""
        if not (example["query"] or example["text"] or example["gold"]):
            raise ValueError("neither a query nor a text")
        # The sides of an evaluation come one by one; what is learnt from has both.
        if not task.unlabelled and not (example["query"] and example["text"]):
            raise ValueError("the query or the text is empty")

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """One feature an example: `<s> query </s>`, and `<s> text </s></s> context </s>`.

        A text without a context stands alone. Where text and context do not fit, the longer is cut
        at its end until both are equally long, so that a sentence beside its paragraph stays whole
        (XTREME-R trains on LAReQA's pairs so).

        Args:
            examples: columns of `EmbeddingExample`; a side that no example has is left out.

        Returns:
            Columns `length` (what the example costs in tokens) and `example`, and: `input_ids` of
            the texts and `query_ids` of the queries where there are both, as in training; else
            `input_ids` of the only side.
        """
        sides: dict[str, list[list[int]]] = {}
        if any(examples["text"]) or not any(examples["query"]):
            pairs = zip(examples["text"], examples["context"], strict=True)
            texts = [(text, context) if context else text for text, context in pairs]
            sides["input_ids"] = _encode(texts, how.tokenizer, how.max_length)
        if any(examples["query"]):
            name = "query_ids" if sides else "input_ids"
            sides[name] = _encode(list(examples["query"]), how.tokenizer, how.max_length)
        lengths = [[len(ids) for ids in side] for side in sides.values()]
        return {
            **sides,
            "length": [sum(map(padded_length, row)) for row in zip(*lengths, strict=True)]
            if len(sides) > 1
            else lengths[0],
            "example": list(range(len(lengths[0]))),
        }

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """There is none: sentence vectors come from the trunk."""

    def read(self, rows: Rows) -> Features:
        """Texts with their contexts; an input has no query."""
        return {
            "query": [""] * len(rows),
            "text": [row["text"] for row in rows],
            "context": [row.get("context", "") for row in rows],
        }

    def decode(self, outputs: Outputs) -> Decoded:
        """The vectors, as they are."""
        return outputs.rows, None

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The vector as a list of numbers."""
        return {"vector": [float(number) for number in predicted.value]}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The vector's numbers with four decimals each."""
        return " ".join(f"{number:.4f}" for number in answer["vector"])

    def example(self, row: Any) -> EmbeddingExample:
        """A query and the text that answers it, with the text's context."""
        context = row.text("context") if "context" in row.columns else ""
        query, text = row.text("query"), row.text("text")
        return {"id": row.id(), "query": query, "text": text, "context": context, "gold": []}


HEAD = _Embedding()


Pooling = Literal["mean", "first", "max"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def check_pooling(pooling: str) -> None:
    """Refuses another word than these."""
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
