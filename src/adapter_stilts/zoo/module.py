"""A module in memory, ready to use: the object behind `adapter_stilts.load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Unpack, cast, overload

import datasets
import numpy as np
import numpy.typing as npt

from adapter_stilts.display import html_facts
from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.native import head_choices, head_labels
from adapter_stilts.errors import UserError, few, shown
from adapter_stilts.features.build import encoder
from adapter_stilts.heads import (
    PLAIN,
    choice,
    classification,
    get_head,
    has_weights,
    span,
    tagging,
)
from adapter_stilts.heads.base import Example, Head, Prediction, Rows
from adapter_stilts.heads.choice import ChoiceExample
from adapter_stilts.inference.predictions import (
    Predictions,
    predict_features,
    score_pairs,
    score_predictions,
)
from adapter_stilts.inference.vectors import sentence_vectors
from adapter_stilts.keywords import unknown_keyword
from adapter_stilts.tasks.languages import cut_words
from adapter_stilts.tasks.spec import HeadKind, TaskSpec
from adapter_stilts.zoo.known_task import task_of
from adapter_stilts.zoo.load import kind_of
from adapter_stilts.zoo.local import Composed
from adapter_stilts.zoo.predict import InputFields, predict, read_input
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord


@dataclass(frozen=True, repr=False)
class Module:
    """A trained module, or a composition of several, on its frozen backbone.

    `record` is the topmost module's, `name` what it is called in the engine, `composed` how the
    engine runs it, `loaded_from` the composition as text over folders. `predict` takes examples of
    its head kind; `answer`, `classify`, `choose` and `tag` are the same for single inputs. `embed`
    gives sentence vectors, whatever the head.
    """

    engine: Engine
    record: ModuleRecord
    name: str
    composed: Composed | None = None
    loaded_from: str = ""

    def __repr__(self) -> str:
        head = f"{self.record.head} head" if self.record.head != NO_HEAD else "no head"
        composition = self.record.composition
        return f"<Module {composition}: {head}, on {self.record.backbone.get('name')}>"

    def _repr_html_(self) -> str:
        facts = {**self.record.facts(), "labels": few(self.labels), "files": self.loaded_from}
        return html_facts(facts, title=f"Module {self.record.composition}")

    @property
    def task(self) -> TaskSpec:
        """The task it was trained on."""
        return task_of(self.record)

    @property
    def kind(self) -> HeadKind:
        """The kind of its head.

        Raises:
            UserError: it has one for each of several tasks, and none has been chosen; or it has
                none, like a merge that was given none.
        """
        return kind_of(self.record)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label or tag names by number."""
        return head_labels(self.engine, self.name)

    @property
    def choices(self) -> int:
        """How many options its head chooses among; 0 for heads of other kinds."""
        return head_choices(self.engine, self.name)

    @overload
    def predict(self, examples: Sequence[Example], *, batch_tokens: int = ...) -> Predictions: ...
    @overload
    def predict(
        self, *, lang: str | None = ..., **fields: Unpack[InputFields]
    ) -> dict[str, Any]: ...
    def predict(
        self,
        examples: Sequence[Example] | None = None,
        *,
        batch_tokens: int = 8192,
        lang: str | None = None,
        **fields: Any,
    ) -> Predictions | dict[str, Any]:
        """What the module says of one input, or its predictions for examples.

        Args:
            examples: with or without labels; their predictions are in their order.
            batch_tokens: a batch has so many padded tokens at most.
            lang: the language of the input.
            fields: one input, such as `question` and `context`; see `InputFields`. The answer is a
                dictionary, as of the function `predict`.

        Raises:
            UserError: there is nothing to predict, or a field is missing or unknown.
        """
        if examples is None:
            answer: dict[str, Any] = predict(self, lang=lang, **fields)
            return answer
        if fields:
            raise unknown_keyword("predict", next(iter(fields)), ["examples", "batch_tokens"])
        kind = self.kind
        self._check_examples(examples, get_head(kind).inputs if has_weights(kind) else ())
        if not examples:
            return Predictions(kind, [])
        if not get_head(kind).has_weights:
            return Predictions(kind, list(self.embed([_side(row) for row in examples])))
        self._check_choices(examples)
        columns = {key: [row[key] for row in examples] for key in get_head(kind).inputs}
        data = datasets.Dataset.from_dict(columns)
        features = datasets.Dataset.from_dict(self.encode(columns))
        return predict_features(
            self.engine, features, data, kind, tags=self.labels, batch_tokens=batch_tokens
        )

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The feature columns of examples given as columns, in windows as it was trained with."""
        encode = encoder(
            self.kind,
            self.engine.backbone.tokenizer,
            max_length=self._max_length,
            stride=int(self.record.recipe["stride"]),
        )
        return encode(columns)

    def score(self, examples: Sequence[Example], *, batch_tokens: int = 8192) -> dict[str, float]:
        """The task's official scores, in percent, on labelled examples.

        Raises:
            UserError: there are no examples, or one lacks what its head reads or is scored by.
        """
        if not examples:
            raise UserError("no examples: there is nothing to score")
        head = get_head(self.kind)
        needed = (*head.inputs, head.gold) if head.has_weights else _SIDES
        self._check_examples(examples, needed)
        rows: list[dict[str, Any]] = [dict(example) for example in examples]
        if not head.has_weights:
            features = self._encode({key: [row[key] for row in rows] for key in _SIDES})
            return score_pairs(self.engine, features, self.task.metric, batch_tokens=batch_tokens)
        predictions = self.predict(examples, batch_tokens=batch_tokens)
        return score_predictions(self.task, predictions, datasets.Dataset.from_list(rows))

    def embed(
        self,
        texts: Sequence[str | tuple[str, str]],
        *,
        layer: int | None = None,
        pooling: str = "mean",
        normalise: bool = True,
        batch_tokens: int = 8192,
    ) -> npt.NDArray[np.float16]:
        """One vector a text, or a pair of a text and the context around it: (texts, D).

        Args:
            layer: 0 for the output of the embeddings, i for that of the i-th layer; None for
                the last one, which dual encoders are trained with.
            pooling: `mean`, `first` or `max`; dual encoders are trained with the mean.
            normalise: to length 1.

        Raises:
            UserError: no such layer or pooling, or one text in place of a list.
        """
        if isinstance(texts, str):
            raise UserError(f"{shown(texts)} is one text: a list of texts was expected, as [text]")
        pairs = [(text, "") if isinstance(text, str) else text for text in texts]
        if not pairs:
            return np.zeros((0, int(self.engine.model.config.hidden_size)), dtype=np.float16)
        columns = {
            "query": [""] * len(pairs),
            "text": [text for text, _ in pairs],
            "context": [context for _, context in pairs],
        }
        return sentence_vectors(
            self.engine,
            self._encode(columns),
            layer=layer,
            pooling=pooling,
            normalise=normalise,
            batch_tokens=batch_tokens,
        )

    def _encode(self, columns: Mapping[str, list[str]]) -> datasets.Dataset:
        """Queries and texts as features."""
        encode = encoder(
            PLAIN,
            self.engine.backbone.tokenizer,
            max_length=self._max_length,
            stride=0,
        )
        return datasets.Dataset.from_dict(encode(columns))

    @property
    def _max_length(self) -> int:
        """Tokens a sequence at most; a module of several tasks has none of its own."""
        return self.engine.backbone.sequence_length(int(self.record.recipe["max_length"]))

    def answer(self, question: str, context: str) -> dict[str, Any]:
        """The span of `context` that answers `question`.

        Returns:
            `answer` (empty where the module says that there is none), `start` (its first
            character), `score` (sum of two logits).
        """
        self._needs(span.HEAD)
        return self.predict_one({"question": question, "context": context})

    def classify(self, text_a: str, text_b: str = "") -> dict[str, float]:
        """The probability of each label, most likely first."""
        self._needs(classification.HEAD)
        labels: dict[str, float] = self.predict_one({"text_a": text_a, "text_b": text_b})["labels"]
        return labels

    def choose(self, prompt: str, options: Sequence[str], *, question: str = "") -> dict[str, Any]:
        """The best option after `prompt`: its number, its text, and all probabilities.

        A `question` is read before every option, as Cosmos QA has it after its story.

        Raises:
            UserError: not as many options as the module was trained with.
        """
        self._needs(choice.HEAD)
        several = options if isinstance(options, str) else list(options)
        return self.predict_one({"prompt": prompt, "options": several, "question": question})

    def tag(self, words: str | Sequence[str]) -> list[tuple[str, str]]:
        """Every word with its tag; a text is cut at its spaces."""
        self._needs(tagging.HEAD)
        listed = cut_words(words) if isinstance(words, str) else list(words)
        tags: list[tuple[str, str]] = self.predict_one({"words": listed})["tags"]
        return tags

    def predict_one(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the module says of one input, given by its head's field names.

        Raises:
            InputError: a field is missing, or not what is expected there.
        """
        given = read_input(self.kind, fields, name=self.record.name, choices=self.choices)
        (found,) = self.predict_rows([given])
        return found

    def predict_rows(self, rows: Rows, *, batch_tokens: int = 8192) -> list[dict[str, Any]]:
        """The same of many inputs, sorted by length and batched; in their order.

        Raises:
            UserError: the module has no head, or an input has not as many options as it takes.
        """
        columns = get_head(self.kind).read(rows)
        examples = [
            cast(Example, dict(zip(columns, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]
        return self.report(rows, self.predict(examples, batch_tokens=batch_tokens))

    def report(self, rows: Rows, found: Predictions) -> list[dict[str, Any]]:
        """What is said of inputs that the module's head predicted so."""
        labels = self.labels if get_head(found.kind).has_labels else ()
        head, scores = get_head(found.kind), found.scores or repeat(None)
        threshold = self.record.no_answer_threshold
        return [
            head.say(Prediction(row, value, each, labels, threshold))
            for row, value, each in zip(rows, found.values, scores, strict=False)
        ]

    def _check_examples(self, examples: Sequence[Example], needed: Sequence[str]) -> None:
        """Refuses what are no examples, or lacks a key of them."""
        for number, row in enumerate([examples] if isinstance(examples, str) else examples):
            lacking = [key for key in needed if not isinstance(row, Mapping) or key not in row]
            if lacking or not isinstance(row, Mapping):
                keys = ", ".join(needed) or "text"
                raise UserError(
                    f"example {number} is {shown(row)}, and one for a {self.kind} head maps "
                    f"{keys} to values; one input is given by its fields, as in "
                    f"predict({get_head(self.kind).needs[0]}=…)"
                )

    def _check_choices(self, examples: Sequence[Example]) -> None:
        if not get_head(self.kind).chooses:
            return
        wanted = self.choices
        for row in examples:
            given = len(cast(ChoiceExample, row)["options"])
            if given != wanted:
                raise UserError(
                    f"module '{self.record.name}' chooses among {wanted} options, not {given}"
                )

    def _needs(self, head: Head) -> None:
        if self.kind != head.name:
            raise UserError(
                f"module '{self.record.name}' has a {self.kind} head, not a {head.name} one"
            )


_SIDES = ("query", "text", "context")


def _side(example: Example) -> tuple[str, str]:
    """The text of an example with its context, or its query where it has no text."""
    row = cast(Mapping[str, str], example)
    return row.get("text") or row.get("query") or "", row.get("context") or ""
