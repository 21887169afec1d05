"""What a kind of head is, all that the rest of the package asks of it; and what the kinds share.

Special tokens are asked of the tokenizer itself. `build_inputs_with_special_tokens` would do for
the classes that define it; the generic fast tokenizer inherits one that adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import regex

from adapter_stilts.errors import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

UNLABELLED = -1
"""The label of an example of a test set that was published without labels."""

Example = Mapping[str, Any]
"""An example of some head kind: the kind's file declares which keys it has."""

Rows = Sequence[Mapping[str, Any]]
"""One mapping an input, with the field names of the head's `needs` and `takes`."""

Columns = Mapping[str, Sequence[Any]]
"""Examples or features as columns: every list has one value a row."""

Features = dict[str, list[Any]]
"""What a head reads: `input_ids`, `length`, `example` (row number within the call), and more."""

Decoded = tuple[list[Any], list[list[float]] | None]
"""One value an example, and the probabilities behind it where the head gives them."""


@dataclass(frozen=True)
class Encoding:
    """How examples become sequences.

    Attributes:
        max_length: tokens a sequence at most, special ones included.
        stride: tokens that the windows over a long text have in common.
        tags: tag names by number, where tags are learnt.
    """

    tokenizer: PreTrainedTokenizerFast
    max_length: int
    stride: int = 128
    tags: Sequence[str] | None = None


@dataclass(frozen=True)
class Outputs:
    """What a head gave for some examples: one output a feature row.

    Attributes:
        windows: those columns of the features that the head kind names in `windows`.
        examples: the examples' own data set.
        tags: tag names by number.
    """

    rows: list[Any]
    windows: Columns
    examples: Any
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class Prediction:
    """What a head predicts for one input, and what it takes to say so.

    Attributes:
        row: the input, with the field names of the head's `needs` and `takes`.
        scores: the probabilities behind the value, where the head gives them.
        labels: label names by number.
        threshold: how much better no answer has to be than the best; None: never given.
    """

    row: Mapping[str, Any]
    value: Any
    scores: list[float] | None
    labels: Sequence[str] = ()
    threshold: float | None = None


class TaskLike(Protocol):
    """As much of a task as a head kind needs to know."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label names by number."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tag set, where it is closed."""
        ...

    @property
    def choices(self) -> int:
        """How many options an example has."""
        ...

    @property
    def unanswerable(self) -> bool:
        """Whether an example may have no answer."""
        ...

    @property
    def unlabelled(self) -> bool:
        """Whether an example may lack what it is scored by."""
        ...

    @property
    def identity(self) -> str:
        """A hash of a user's own task; empty for the package's."""
        ...


class TargetLike(Protocol):
    """As much of a target as writing its predictions needs."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label names by number."""
        ...

    @property
    def submitted(self) -> tuple[str, ...]:
        """How predictions are written, where not as `labels`."""
        ...


_TYPES: Mapping[str, Any] = {
    "text": (str, "a text"),
    "texts": (str, "a list of texts"),
    "whole": (Integral, "a whole number"),
    "wholes": (Integral, "a list of whole numbers"),
    "number": (Real | None, "a number"),
}
"""The types of an example's values by their kind, of lists those of their members; their names."""


class Head:
    """One kind of head; its file makes the only object of a subclass, `HEAD`.

    Attributes:
        name: what it is called in records, task files and messages.
        columns: the keys of its examples and their kinds: `text`, `texts`, `whole`, `wholes`
            or `number`.
        gold: the key that an example is scored by.
        unique_ids: whether predictions are found by an example's id.
        has_labels, has_tags: whether the head's numbers stand for a closed set of labels, or for
            tags of words.
        chooses: whether it chooses among as many options as the task says.
        has_weights: whether there is a head at all; sentence vectors come from the trunk.
        nested: whether one example is several sequences.
        windows: the feature columns that say which part of which example a row is.
        library: the kind of head in `adapters`.
        auto_class, peft_task, peft_layers: how plain `transformers` and `peft` hold the same
            head: by model type, where its linear layers (numbers in the head of `adapters`) lie.
        pipeline: the Hub's name of the kind.
        inputs: those keys of an example that the head reads.
        needs, takes, aliases: the fields of an input, those it may have too, their other names.
        listed: those of its fields that are lists of texts.
        parts, optional_parts: what a user's own rows must and may have.
        metrics: those that score it; the first is the usual one.
        of_two: those of them that are defined for two labels alone, and score the second one.
        category: the kind of target in tables.
        suffix: the ending of a file of predictions.
    """

    name: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    gold: ClassVar[str] = "label"
    unique_ids: ClassVar[bool] = False
    has_labels: ClassVar[bool] = False
    has_tags: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    has_weights: ClassVar[bool] = True
    nested: ClassVar[bool] = False
    windows: ClassVar[tuple[str, ...]] = ()
    library: ClassVar[str] = ""
    auto_class: ClassVar[str] = "AutoModel"
    peft_task: ClassVar[str | None] = None
    peft_layers: ClassVar[Mapping[str, Mapping[str, str]]] = {"bert": {}, "xlm-roberta": {}}
    pipeline: ClassVar[str] = "feature-extraction"
    inputs: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    listed: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[tuple[str, ...]] = ()
    optional_parts: ClassVar[tuple[str, ...]] = ("id",)
    metrics: ClassVar[tuple[str, ...]] = ()
    of_two: ClassVar[tuple[str, ...]] = ()
    category: ClassVar[str] = "classification"
    suffix: ClassVar[str] = "tsv"

    @property
    def is_named(self) -> bool:
        """Whether the head's numbers have names."""
        return self.has_labels or self.has_tags

    def schema(self) -> pa.Schema:
        """Its examples' columns as Arrow has them."""
        import pyarrow as pa

        kinds = {
            "text": pa.string(),
            "texts": pa.list_(pa.string()),
            "whole": pa.int64(),
            "wholes": pa.list_(pa.int64()),
            "number": pa.float64(),
        }
        return pa.schema({name: kinds[kind] for name, kind in self.columns.items()})

    def is_labelled(self, example: Example) -> bool:
        """Whether the example has what it is scored by."""
        value = example[self.gold]
        return value != UNLABELLED if self.gold == "label" else bool(value)

    def check_columns(self, example: Example) -> None:
        """Raises `ValueError` for a key of its kind that is missing or of another type."""
        if not isinstance(example, Mapping):
            raise ValueError(f"{shown(example)} is no example: that maps names to values")
        for name, kind in self.columns.items():
            if name not in example:
                raise ValueError(f"the example has no '{name}', but {', '.join(map(str, example))}")
            value = example[name]
            listed = kind in ("texts", "wholes")
            if listed and not isinstance(value, list | tuple):
                raise ValueError(f"'{name}' of the example is {shown(value)}, not a list")
            type_, called = _TYPES[kind]
            fits = (isinstance(each, type_) for each in (value if listed else [value]))
            if isinstance(value, bool) or not all(fits):
                raise ValueError(f"'{name}' of the example is {shown(value)}, not {called}")

    def check(self, task: TaskLike, example: Example) -> None:
        """Holds an example against its task; what cannot be right is a `ValueError`."""

    def check_learnt(self, example: Example) -> None:
        """The same of what only training needs."""

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """The features of examples, given as columns; pure."""
        raise NotImplementedError

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """Adds the head to a model of `adapters`, shaped as in the backbone's own class."""
        raise NotImplementedError

    def settle(self, head: Any) -> None:
        """Makes a head of `adapters` ready for use, a new one or one that was read."""

    def owns(self, config: Mapping[str, Any]) -> bool:
        """Whether a head of `adapters` with that configuration is of this kind."""
        return bool(self.library) and config.get("head_type") == self.library

    def library_options(self, labels: int) -> str:
        """What plain `transformers` is told to make a head of so many labels."""
        return f", num_labels={labels}" if self.is_named else ""

    def split(self, output: Any, columns: Columns) -> list[Any]:
        """The head's output row by row; `columns` are the rows' `input_ids` and `word_starts`."""
        return list(output.logits.float().cpu().numpy())

    def decode(self, outputs: Outputs) -> Decoded:
        """The predictions that outputs stand for."""
        return _likeliest(outputs.rows)

    def scored(
        self, task: TaskLike, values: Sequence[Any], examples: Any
    ) -> tuple[list[Any], list[Any]]:
        """Predictions and right answers as the metric takes them."""
        return list(values), list(examples[self.gold])

    def read(self, rows: Rows) -> Features:
        """Inputs as columns of the kind's examples."""
        return {name: [row[name] for row in rows] for name in self.needs}

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """What a person is shown of one prediction."""
        raise NotImplementedError

    def line(self, answer: Mapping[str, Any]) -> str:
        """The same on one line."""
        raise NotImplementedError

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """Predictions as lines of a file; of a JSON file, as members of an object."""
        raise NotImplementedError

    def loss_classes(self, labels: int, choices: int) -> int | None:
        """How many answers a guess chooses among; 0: the tokens of a text; None: no such number."""
        return labels or choices

    def example(self, row: Any) -> Example:
        """The example in a row (an `own.rows.OwnRow`) of a user's own file."""
        raise NotImplementedError


def _likeliest(outputs: list[Any]) -> Decoded:
    """The number of the highest logit, and the softmax of all."""
    import numpy as np

    logits = np.stack(outputs)
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponents / exponents.sum(-1, keepdims=True)
    return logits.argmax(-1).tolist(), probabilities.tolist()


def check_label(task: TaskLike, label: int, count: int) -> None:
    """Raises `ValueError` for a label outside the set."""
    if not (0 <= label < count or (task.unlabelled and label == UNLABELLED)):
        raise ValueError(f"label {shown(label)} is outside the set (0 to {count - 1})")


PAD_TO = 8
"""Lengths are padded to a multiple of this, which suits both AVX-512/AMX tiles and tensor cores."""

# Unicode's property of characters that are not shown: zero-width spaces, joiners, byte order
# marks, soft hyphens, marks of writing direction.
_OUTER = regex.compile(r"[\s\p{Cc}\p{Default_Ignorable_Code_Point}]")
# What changes how the character before it is shown belongs to that: variation selectors, tags of
# flags, and a joiner behind a virama or another mark.
_BOUND = regex.compile(r"[\p{Variation_Selector}\U000E0020-\U000E007F]")
_JOINERS = "\u200c\u200d"
_MARK = regex.compile(r"\p{M}")


def padded_length(length: int) -> int:
    """The length a sequence has once padded to a multiple of `PAD_TO`."""
    return -(-length // PAD_TO) * PAD_TO


class Template(NamedTuple):
    """Special tokens before, between and after two sequences (`between` is empty for one)."""

    before: list[int]
    between: list[int]
    after: list[int]

    @property
    def size(self) -> int:
        """Special tokens in all."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, first: Sequence[int], second: Sequence[int] = ()) -> list[int]:
        """The sequences with the special tokens around them."""
        return [*self.before, *first, *self.between, *second, *self.after]


def template(tokenizer: PreTrainedTokenizerFast, *, pair: bool) -> Template:
    """The special tokens of one sequence or of a pair, read off an example."""
    encoded = tokenizer("a", "a") if pair else tokenizer("a")
    places = encoded.sequence_ids(0)
    ids: list[int] = encoded["input_ids"]
    begin = places.index(0)
    end = len(places) - places[::-1].index(0)
    if not pair:
        return Template(ids[:begin], [], ids[end:])
    second = places.index(1)
    last = len(places) - places[::-1].index(1)
    return Template(ids[:begin], ids[end:second], ids[last:])


def inner(text: str, begin: int = 0, end: int | None = None) -> tuple[int, int]:
    """Where a part of a text begins and ends without what is not seen at its edges.

    >>> inner("in Lund today", 3, 8)
    (3, 7)

    Returns:
        `begin` twice where nothing is left.
    """
    first, last = begin, len(text) if end is None else min(end, len(text))
    while first < last and _OUTER.match(text[first]):
        first += 1
    while first < last and _ends_outside(text, first, last):
        last -= 1
    return (first, last) if first < last else (begin, begin)


def _ends_outside(text: str, first: int, last: int) -> bool:
    char = text[last - 1]
    if not _OUTER.match(char):
        return False
    before = text[last - 2] if last - 2 >= first else ""
    bound = _BOUND.match(char) or (char in _JOINERS and _MARK.match(before))
    return not (before and bound)
