"""Tags of a user's own that a score of chunks reads otherwise than they are meant."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from adapter_stilts.data.load import Part, convert_row, find_all, resolve_where, word_place
from adapter_stilts.data.parts import Located, given_files
from adapter_stilts.errors import Place, UserError, counted, few, located
from adapter_stilts.tasks.spec import Row, Split, TaskSpec

logger = logging.getLogger(__name__)

CHUNK_METRIC = "seqeval_f1"
OUTSIDE = "O"
_REMEDY = "or 'metric: tag_accuracy', which scores word by word"
_FINE = re.compile(r"[BIES](-.+)?|O")
_KINDS = (
    ("[BIES]-", "it has no type, so that it counts as a type of its own: write one, as in B-PER"),
    (
        "[biesluo](-.*)?",
        f"the score takes small letters for no prefix: write B-, I- and O large, {_REMEDY}",
    ),
    (
        "[LUMW]-.+",
        "the score does not know that prefix: write I- or E- for a last word, S- for a single one",
    ),
    (
        ".+",
        "it has no B- or I- before its type, so that the score takes its first letter for a "
        f"prefix: write B-PER or I-PER, {_REMEDY}",
    ),
)
"""What is odd about a tag; the first that it is like."""


@dataclass
class _Seen:
    """How often something was met, and where first."""

    count: int = 0
    place: str = ""
    tag: str = ""

    def add(self, tag: str, place: Callable[[], str]) -> None:
        if not self.count:
            self.place, self.tag = place(), tag
        self.count += 1


@dataclass
class ChunkTags:
    """Looks at the tags of one sentence after the other, and says in the end what is odd.

    Nothing is said of tags that are no chunks, such as parts of speech: of chunks, some words are
    outside (`O`), or half of the tags have a prefix (B-, I-, E-, S-). Tags that are numbers alone
    may be either.
    """

    _tags: dict[str, _Seen] = field(default_factory=dict)
    _chunks: int = 0
    _inside_first: _Seen = field(default_factory=_Seen)
    _left_open: _Seen = field(default_factory=_Seen)
    _ends_nothing: _Seen = field(default_factory=_Seen)
    _begun: int = 0

    def add(self, tags: Sequence[str], place: Callable[[int], str]) -> None:
        """Looks at a sentence; `place` says where its word of a number stands, from 0."""
        before, type_before = OUTSIDE, ""
        for word, tag in enumerate((*tags, OUTSIDE)):
            prefix, _, kind = tag.partition("-")
            goes_on = before in ("B", "I") and kind == type_before
            if before in ("B", "I") and not (goes_on and prefix in ("I", "E")):
                self._left_open.add(tags[word - 1], partial(place, word - 1))
            if word == len(tags):
                return
            self._tags.setdefault(tag, _Seen()).add(tag, partial(place, word))
            if prefix in ("B", "S") or (prefix == "I" and not goes_on):
                self._chunks += 1
            if prefix == "B" and not goes_on:
                self._begun += 1
            if prefix == "I" and not goes_on:
                self._inside_first.add(tag, partial(place, word))
            if prefix == "E" and not goes_on:
                self._ends_nothing.add(tag, partial(place, word))
            before, type_before = prefix, kind

    def remarks(self) -> Iterator[str]:
        """What is odd, each with the place of the first such word, and a remedy.

        Refuses tags that are all in small letters, so that every word outside would be a chunk.
        """
        tags = self._tags
        if tags and all(map(str.isdecimal, tags)):
            first = next(iter(tags))
            yield (
                f"{tags[first].place}: the tags are numbers ({few(list(tags), 6)}), and the score "
                "takes each for a type of chunk, the one for words outside too: write names as O "
                "and B-PER (for JSON Lines and Parquet, 'labels' may list them in the order of the "
                f"numbers), {_REMEDY}"
            )
            return
        prefixed = [tag for tag in tags if re.fullmatch("[BIES]-.*", tag)]
        small = [tag for tag in tags if re.fullmatch("[bies]-.+", tag)]
        if small and "o" in tags and OUTSIDE not in tags:
            raise UserError(
                f"{tags['o'].place}: the tags are in small letters (o, {few(small, 4)}), and the "
                f"score takes every o for a chunk: write O and B-, I- large, {_REMEDY}"
            )
        if not tags or (OUTSIDE not in tags and 2 * len(prefixed) < len(tags)):
            return
        outside = OUTSIDE
        if OUTSIDE not in tags:
            (most, times), *_ = Counter({t: s.count for t, s in tags.items()}).most_common(1)
            if most not in prefixed:
                outside = most
                yield (
                    f"{tags[most].place}: no word has the tag O, so {most} "
                    f"({counted(times, 'word')}) counts as a chunk: write O for words outside"
                )
        yield from self._odd_tags(outside)
        yield from self._odd_orders(any(tag[0] in "ES" for tag in prefixed))

    def _odd_tags(self, outside: str) -> Iterator[str]:
        odd = [tag for tag in self._tags if tag != outside and not _FINE.fullmatch(tag)]
        for form, what in _KINDS:
            found = [tag for tag in odd if re.fullmatch(form, tag)]
            odd = [tag for tag in odd if tag not in found]
            if found:
                counts = [f"{tag} ({counted(self._tags[tag].count, 'word')})" for tag in found]
                yield f"{self._tags[found[0]].place}: tag {few(counts, 6)}: {what}"

    def _odd_orders(self, single: bool) -> Iterator[str]:
        """Of B- and I-, and where `single` of E- and S- as well."""
        inside, left, ends = self._inside_first, self._left_open, self._ends_nothing
        # In the scheme of CoNLL-2003, B- stands only between two chunks of one type.
        if inside.count and self._begun:
            yield (
                f"{inside.place}: {inside.tag} begins a chunk, as I- does in {inside.count:,} of "
                f"{self._chunks:,} chunks, and the score counts it as one of its own: write B- "
                "where a chunk begins"
            )
        if single and left.count:
            yield (
                f"{left.place}: {left.tag} has no I- or E- of its type after it "
                f"({counted(left.count, 'such chunk')}): with E- and S- among the tags, a chunk of "
                "one word is S-, and the last word of a longer one E-"
            )
        if single and ends.count:
            yield (
                f"{ends.place}: {ends.tag} has no B- or I- of its type before it "
                f"({counted(ends.count, 'such word')}): a chunk of one word is S-"
            )


def warn_of_odd_tags(task: TaskSpec, split: Split, where: str | None) -> None:
    """Says what is odd about the tags of rows that a user gave, as `ChunkTags.remarks` does."""
    if task.metric != CHUNK_METRIC or split not in given_files(task):
        return
    for part in find_all(task, split, resolve_where(where)):

        def tags_of(row: Row, part: Part = part) -> Sequence[str]:
            example = convert_row(task, row, part)
            return () if example is None else list(example["tags"])

        with suppress(ValueError):  # a row that is refused where it is read
            for remark in chunk_remarks(part.rows(), tags_of):
                logger.warning("%s", remark)


def chunk_remarks(rows: Iterable[Located], tags_of: Callable[[Row], Sequence[str]]) -> list[str]:
    """What `ChunkTags.remarks` says of the tags of rows; no list of tags is a `ValueError`."""
    looked_at = ChunkTags()
    for where, place, row in rows:
        looked_at.add(tags_of(row), placed(where, place, row))
    return list(looked_at.remarks())


def placed(where: str, place: Place, row: Row) -> Callable[[int], str]:
    """The file and line of every word of a row."""
    return lambda word: located(where, word_place(row, word, place))
