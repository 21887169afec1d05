"""A module in memory, ready to use: the object behind `adapter_stilts.load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NoReturn, Unpack, overload

import datasets
import numpy as np
import numpy.typing as npt

from adapter_stilts.display import Table, html_facts, html_table
from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.native import head_choices, head_labels
from adapter_stilts.errors import UserError, counted, few, shown
from adapter_stilts.heads import PLAIN, choice, classification, get_head, span, tagging
from adapter_stilts.heads.base import Encoding, Example, Head, Prediction, Rows
from adapter_stilts.inference.predictions import (
    Predictions,
    predict_features,
    score_pairs,
    score_predictions,
)
from adapter_stilts.inference.vectors import sentence_vectors
from adapter_stilts.keywords import unknown_keyword
from adapter_stilts.tasks.languages import cut_words, known_language
from adapter_stilts.tasks.spec import HeadKind, TaskSpec
from adapter_stilts.zoo.local import Composed
from adapter_stilts.zoo.predict import InputError, InputFields, kept, predict, read_input
from adapter_stilts.zoo.provenance import task_of
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.resolve import kind_of


@dataclass(frozen=True, repr=False)
class Answers(Table, Predictions):
    """Predictions for inputs, in their order, as `Module.predict` returns them of a list.

    `said` has what a person is told of each: a dictionary with the `id` and `lang` of the input,
    and with `answer`, `start` and `score`, or `labels` (probabilities from 0 to 1), `tags` or
    another field of the head's kind. `values` are the bare predictions (`kind` is the head's), such
    as numbers of labels, and `scores` what they were chosen by, where there is such.
    """

    said: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> str:
        """How many inputs, and what kind of head answered."""
        return f"to {counted(len(self.values), 'input')}: {self.kind} head"

    def _repr_html_(self) -> str:
        return html_table(self.records(), title=f"Answers {self.summary()}")

    def records(self) -> list[dict[str, Any]]:
        """What is said of each; of labels, the likeliest and the probability of each."""
        rows = []
        for each in self.said:
            row = {**each}
            if labels := row.pop("labels", None):
                row |= {"label": next(iter(labels)), **labels}
            rows.append(row)
        return rows


@dataclass(frozen=True, repr=False, eq=False)
class Module:
    """A trained module, or a composition of several, on its frozen backbone.

    `record` is the topmost module's, `name` what it is called in the engine, `composed` how the
    engine runs it, `loaded_from` the composition as text over folders. `predict` takes one input or
    several; `answer`, `classify`, `choose` and `tag` are the same for single inputs. `embed`
    gives sentence vectors, whatever the head.
    """

    engine: Engine
    record: ModuleRecord
    name: str
    composed: Composed | None = None
    loaded_from: str = ""

    def __reduce__(self) -> NoReturn:
        """Refuses to be copied, or sent to another process, with all of its backbone."""
        name = self.record.composition
        raise UserError(f"a module in memory cannot be pickled: load it there, as load('{name}')")

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
    def predict(
        self, examples: Sequence[Example], *, batch_tokens: int = ..., lang: str | None = ...
    ) -> Answers: ...
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
    ) -> Answers | dict[str, Any]:
        """What the module says of one input, or of several.

        Args:
            examples: inputs by the same fields, or examples of a task, with or without labels. An
                input may have a `lang` of its own.
            batch_tokens: a batch has so many padded tokens at most.
            lang: the language of the input, or of inputs that have none.
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
        one = isinstance(examples, (str, Mapping))
        given: list[Any] = [examples] if one else list(examples)
        language = known_language(lang) if lang else ""
        rows = [self._read(number, row, language) for number, row in enumerate(given)]
        found = self._predict(rows, batch_tokens)
        said = zip(given, self.report(rows, found), strict=True)
        answers = [{**kept(row, language), **each} for row, each in said]
        return Answers(found.kind, found.values, found.scores, answers)

    def _read(self, number: int, row: Any, lang: str) -> dict[str, Any]:
        """One of several inputs, under its head's own field names."""
        head = get_head(self.kind)
        self._check_example(number, row)
        if not head.has_weights and row.get("query"):  # an example's question
            row = {**row, "text": row.get("text") or row["query"]}
        try:
            return read_input(self.record, row, self.choices, lang)
        except InputError as error:
            raise InputError(error.field, f"example {number}: {error}") from error

    def _predict(self, rows: Rows, batch_tokens: int) -> Predictions:
        """Predictions for inputs that have been read, in their order."""
        kind = self.kind
        if not rows:
            return Predictions(kind, [])
        columns = get_head(kind).read(rows)
        if not get_head(kind).has_weights:
            pairs = list(zip(columns["text"], columns["context"], strict=True))
            return Predictions(kind, list(self.embed(pairs, batch_tokens=batch_tokens)))
        data = datasets.Dataset.from_dict(columns)
        features = datasets.Dataset.from_dict(self.encode(columns))
        with self.engine.lock:
            return predict_features(
                self.engine, features, data, kind, tags=self.labels, batch_tokens=batch_tokens
            )

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The feature columns of examples given as columns, in windows as it was trained with."""
        return self._encode(self.kind, columns, stride=int(self.record.recipe["stride"]))

    def _encode(
        self, kind: HeadKind, columns: Mapping[str, Sequence[Any]], *, stride: int = 0
    ) -> dict[str, list[Any]]:
        backbone = self.engine.backbone
        length = backbone.sequence_length(int(self.record.recipe["max_length"]))
        how = Encoding(backbone.tokenizer, length, stride)
        with self.engine.lock:
            return get_head(kind).encode(columns, how)

    def score(self, examples: Sequence[Example], *, batch_tokens: int = 8192) -> dict[str, float]:
        """The task's official scores, in percent, on labelled examples.

        Raises:
            UserError: there are no examples, or one lacks what its head reads or is scored by.
        """
        if not examples:
            raise UserError("no examples: there is nothing to score")
        head = get_head(self.kind)
        needed = (*head.inputs, head.gold) if head.has_weights else _SIDES
        for number, example in enumerate(examples):
            self._check_example(number, example, needed)
        rows: list[dict[str, Any]] = [dict(example) for example in examples]
        if not head.has_weights:
            pairs = {key: [row[key] for row in rows] for key in _SIDES}
            features, metric = self._pairs(pairs), self.task.metric
            with self.engine.lock:
                return score_pairs(self.engine, features, pairs, metric, batch_tokens=batch_tokens)
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
        features = self._pairs(columns)
        with self.engine.lock:
            return sentence_vectors(
                self.engine,
                features,
                layer=layer,
                pooling=pooling,
                normalise=normalise,
                batch_tokens=batch_tokens,
            )

    def _pairs(self, columns: Mapping[str, list[str]]) -> datasets.Dataset:
        """Queries and texts as features."""
        return datasets.Dataset.from_dict(self._encode(PLAIN, columns))

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
        (found,) = self.predict_rows([read_input(self.record, fields, self.choices)])
        return found

    def predict_rows(self, rows: Rows, *, batch_tokens: int = 8192) -> list[dict[str, Any]]:
        """The same of many inputs, sorted by length and batched; in their order.

        Raises:
            UserError: the module has no head, or an input has not as many options as it takes.
        """
        return self.report(rows, self._predict(rows, batch_tokens))

    def report(self, rows: Rows, found: Predictions) -> list[dict[str, Any]]:
        """What is said of inputs that the module's head predicted so."""
        labels = self.labels if get_head(found.kind).has_labels else ()
        head, scores = get_head(found.kind), found.scores or repeat(None)
        threshold = self.record.no_answer_threshold
        return [
            head.say(Prediction(row, value, each, labels, threshold))
            for row, value, each in zip(rows, found.values, scores, strict=False)
        ]

    def _check_example(self, number: int, row: Any, needed: Sequence[str] = ()) -> None:
        """Refuses what is no example, or lacks a key of it."""
        head = get_head(self.kind)
        if not isinstance(row, Mapping) or not all(key in row for key in needed):
            keys = ", ".join(needed or head.inputs)
            raise UserError(
                f"example {number} is {shown(row)}, and one for a {self.kind} head maps {keys} "
                f"to values; one input is given by its fields, as in predict({head.needs[0]}=…)"
            )

    def _needs(self, head: Head) -> None:
        if self.kind != head.name:
            raise UserError(
                f"module '{self.record.name}' has a {self.kind} head, not a {head.name} one"
            )


_SIDES = ("query", "text", "context")
