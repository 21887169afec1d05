"""Tagged sentences: a word a line with one tag or several columns, CoNLL-U, CCGbank's trees."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from adapter_stilts.errors import bad, shown
from adapter_stilts.tasks.spec import Reading, Row

Lines = Iterable[tuple[int, str]]

_SPACES = " \t\r\n"
"""White space between words. Of other kinds Wikipedia makes words: a no-break space has a tag."""

_TAGGED = re.compile(r".*[^\s,;|][,;|][A-Z_]+(-[A-Z]+)?")
"""A word with its tag, but without the tab between them."""

DOCUMENT = "-DOCSTART-"
"""The word that begins a document in CoNLL 2003; it is none of its words."""

_COMMENT = re.compile(r"# ?\S+ ?[=:]")

_ID = re.compile(r"(\d+)(?:([-.])(\d+))?")

# Which part of a multi-word token gives it its tag, where several are equally near the root.
_RANKS = {
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
_DEFAULT_RANKS = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT"


def _sentences(lines: Lines) -> Iterator[list[tuple[int, str]]]:
    """The lines between blank ones, without their line ends."""
    stripped = ((number, line.rstrip("\r\n")) for number, line in lines)
    for blank, group in groupby(stripped, key=lambda numbered: not numbered[1].strip(_SPACES)):
        if not blank:
            yield list(group)


def _stripped(word: str) -> str:
    """The word without spaces around it, unless it is nothing else."""
    return word.strip() or word.strip(_SPACES) or word


def conll_rows(path: Path, lines: Lines) -> Iterator[tuple[int, Row]]:
    """Sentences, a word a line with its tag after a tab, and a blank line between sentences.

    Test sets may lack the tags: then a sentence has an empty list of them. `lines` are the
    numbers of the words' lines. A line of another form is refused.
    """
    for sentence in _sentences(lines):
        words: list[str] = []
        tags: list[str] = []
        for number, line in sentence:
            word, *rest = line.split("\t")
            if len(rest) > 1 or not word or (not rest and " " in word.strip()):
                raise bad(path, number, f"{shown(line)} where a word, a tab and its tag belong")
            tag = rest[0].strip() if rest else ""
            if words and bool(tag) != bool(tags):
                what = "no tag, but others of its sentence have one"
                if tag:
                    what = "a tag, but others of its sentence have none"
                raise bad(path, number, f"{shown(word)} has {what}")
            words.append(_stripped(word))
            tags += [tag] if tag else []
        if not tags and all(_TAGGED.fullmatch(word) for word in words):
            number = sentence[0][0]
            raise bad(path, number, f"{shown(words[0])} where a word, a tab and its tag belong")
        numbers = [number for number, _ in sentence]
        yield numbers[0], {"tokens": words, "tags": tags, "lines": numbers}


def column_rows(path: Path, lines: Lines, reading: Reading) -> Iterator[tuple[int, Row]]:
    """Sentences with a word a line and a blank line between them.

    A row has, under the number of every column from 1, what stands there for each word, and in
    `lines` the numbers of the words' lines. Lines of `-DOCSTART-` and comments before a sentence
    (`# id = 3`, or `# ` and what cannot be the columns of a word) are passed over. A line that has
    another number of columns than the first word's, or ends in a carriage return alone, is refused.
    """
    sentences = _sentences(lines)
    before, (first, example) = _up_to_a_word(sentences)
    delimiter = reading.delimiter or ("\t" if "\t" in example else " ")
    width = len(_cells(example, delimiter))
    for sentence in chain(before, sentences):
        rows: list[list[str]] = []
        numbers: list[int] = []
        said = [line for _, line in sentence if not line.startswith(("#", DOCUMENT))]
        for number, line in sentence:
            if line.startswith(DOCUMENT) or (not rows and _COMMENT.match(line)):
                continue
            if "\r" in line:
                what = "a line ends in a carriage return alone: save the file with usual line ends"
                raise bad(path, number, f"{what} (LF)")
            cells = _cells(line, delimiter)
            if (
                not rows
                and line.startswith("# ")
                and (len(cells) != width or _is_no_tag(cells[-1], [example, *said], delimiter))
            ):
                continue
            if len(cells) != width:
                raise bad(path, number, _uneven(line, cells, width, first, delimiter))
            rows.append(cells)
            numbers.append(number)
        if rows:
            columns = zip(*rows, strict=True)
            named: dict[str, Any] = {str(i): list(each) for i, each in enumerate(columns, start=1)}
            yield numbers[0], {**named, "lines": numbers}


def _is_no_tag(text: str, words: Iterable[str], delimiter: str) -> bool:
    """Whether a text has small letters, and no tag of these words has: `# note` is a comment."""
    tags = [_cells(word, delimiter)[-1] for word in words]
    return text != text.upper() and all(tag == tag.upper() for tag in tags)


def _up_to_a_word(
    sentences: Iterator[list[tuple[int, str]]],
) -> tuple[list[list[tuple[int, str]]], tuple[int, str]]:
    """The sentences up to the first line that is surely a word's, and that line.

    Where every line begins with `#`, it is the first one.
    """
    before: list[list[tuple[int, str]]] = []
    for sentence in sentences:
        before.append(sentence)
        for number, line in sentence:
            if not line.startswith(("#", DOCUMENT)):
                return before, (number, line)
    said = (each for sentence in before for each in sentence if not each[1].startswith(DOCUMENT))
    return before, next(said, (0, ""))


def _cells(line: str, delimiter: str) -> list[str]:
    # Only the spaces of a keyboard part words: a no-break space may stand inside one.
    if delimiter == " ":
        return [cell for cell in re.split(r"[ \t]+", line) if cell]
    return [cell.strip(_SPACES) for cell in line.split(delimiter)]


def _uneven(line: str, cells: list[str], width: int, first: int, delimiter: str) -> str:
    between = {"\t": "tabs", " ": "spaces"}.get(delimiter, f"'{delimiter}'")
    comment = ", or begin a comment with '# '" if line.startswith("#") else ""
    return (
        f"{shown(line)} has {len(cells)} columns where line {first} has {width}, with {between} "
        f"between: write every word with the same columns{comment}"
    )


@dataclass(frozen=True)
class _Word:
    form: str
    tag: str
    heads: tuple[int, ...]
    line: int


@dataclass(frozen=True)
class _Fused:
    form: str
    first: int
    last: int
    line: int


def conllu_rows(path: Path, lines: Lines) -> Iterator[tuple[int, Row]]:
    """Sentences of CoNLL-U as XTREME makes them: `tokens` and their universal tags.

    Empty nodes are left out. A multi-word token stands in place of its parts and has the tag of
    that part which is nearest to the root. Zero-width non-joiners and spaces within a word are
    removed. (ud-conversion-tools, third_party of github.com/google-research/xtreme, called with
    --replace_subtokens_with_fused_forms; then its utils_preprocess.py, `udpos_preprocess`.)
    Multi-word tokens that overlap or end outside their sentence are refused.
    """
    ranks = _RANKS.get(path.name.split("_")[0], _DEFAULT_RANKS).split()
    for sentence in _sentences(lines):
        name = ""
        words: list[_Word] = []
        fused: list[_Fused] = []
        start = 0
        for number, line in sentence:
            if line.startswith("#"):
                if (comment := line[1:].strip()).startswith("sent_id"):
                    name = comment.partition("=")[2].strip()
                continue
            start = start or number
            token = _token(path, number, line, len(words))
            if isinstance(token, _Word):
                words.append(token)
            elif token is not None:
                if fused and token.first <= fused[-1].last:
                    raise bad(path, number, "this multi-word token overlaps the one before")
                fused.append(token)
        if fused and fused[-1].last > len(words):
            raise bad(
                path,
                start,
                f"a multi-word token goes on to word {fused[-1].last}, but "
                f"the sentence has {len(words)} words",
            )
        if words:
            forms, tags, numbers = _surface(words, fused, ranks)
            yield start, {"id": name, "tokens": forms, "tags": tags, "lines": numbers}


def _token(path: Path, number: int, line: str, before: int) -> _Word | _Fused | None:
    """What the line says after that many words; None for an empty node."""
    cells = line.split("\t")
    if len(cells) != 10:
        raise bad(path, number, f"{len(cells)} columns where CoNLL-U has 10, separated by tabs")
    match = _ID.fullmatch(cells[0])
    if match is None:
        raise bad(path, number, f"id {shown(cells[0])} where one such as 3, 3-4 or 3.1 belongs")
    first, kind, last = int(match[1]), match[2], int(match[3] or 0)
    if kind == ".":
        return None
    if first != before + 1 or (kind and last <= first):
        raise bad(path, number, f"id {cells[0]} where word {before + 1} follows")
    form = cells[1].strip() or cells[1].strip(_SPACES)
    if not form:
        raise bad(path, number, "the word is empty")
    if kind:
        return _Fused(form, first, last, number)
    # The basic head and those of the enhanced graph; heads that are empty nodes do not count.
    heads = [cells[6], *(each.split(":")[0] for each in cells[8].split("|"))]
    numbers = tuple(int(head) for head in heads if head.isdecimal())
    return _Word(form, cells[3].strip(), numbers, number)


def _surface(
    words: list[_Word], fused: list[_Fused], ranks: list[str]
) -> tuple[list[str], list[str], list[int]]:
    """The words as they are written, their tags, and the lines of these."""
    heads = {i: word.heads for i, word in enumerate(words, start=1)}
    starts = {token.first: token for token in fused}
    forms: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    i = 1
    while i <= len(words):
        word = words[i - 1]
        token = starts.get(i) or _Fused(word.form, i, i, word.line)
        part = _nearest_root(heads, range(i, token.last + 1), words, ranks)
        forms.append(token.form.replace("\u200c", "").replace(" ", "") or token.form)
        tags.append(words[part - 1].tag)
        numbers.append(words[part - 1].line)
        i = token.last + 1
    return forms, tags, numbers


def _nearest_root(
    heads: Mapping[int, Collection[int]], span: range, words: list[_Word], ranks: list[str]
) -> int:
    """The word of the span with the fewest ancestors; of several, the one whose tag ranks first.

    XTREME's tool fails on a tag that has no rank, and a treebank it fails on is left out there;
    here such a tag ranks last.
    """
    if len(span) == 1:
        return span[0]
    depths = {i: len(_ancestors(heads, i)) for i in span}
    highest = [i for i in span if depths[i] == min(depths.values())]
    rank = {tag: place for place, tag in enumerate(ranks)}
    return min(highest, key=lambda i: rank.get(words[i - 1].tag, len(ranks)))


def _ancestors(heads: Mapping[int, Collection[int]], word: int) -> set[int]:
    """Every node from which the word can be reached, the root 0 among them."""
    found: set[int] = set()
    new = set(heads[word])
    while new:
        found |= new
        new = {head for each in new for head in heads.get(each, ())} - found
    return found - {word}


# (<T category head daughters>, (<L category tag tag word predicate-argument-category>), and )
_NODE = re.compile(r"\(<T (\S+) (\d+) (\d+)>\s*")
_LEAF = re.compile(r"\(<L (\S+) (\S+) (\S+) (\S+) (\S+)>\)\s*")
_CLOSE = re.compile(r"\)\s*")


class _TreeError(ValueError):
    """What is wrong with a derivation, and at which column (from 1)."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(what)
        self.column = column


def parse_auto(tree: str) -> tuple[list[str], list[str]]:
    """The words and categories at the leaves of one CCGbank derivation.

    >>> parse_auto("(<T NP 1 2> (<L NP/N DT DT a NP/N>) (<L N NN NN dog N>) )")
    (['a', 'dog'], ['NP/N', 'N'])

    Raises:
        ValueError: the brackets do not match, or a node has not the daughters it announces.
    """
    words: list[str] = []
    tags: list[str] = []
    open_nodes: list[list[int]] = []  # of each: its column, daughters announced, daughters seen
    at = 0
    while at < len(tree):
        if at and not open_nodes:
            raise _TreeError(at + 1, f"{shown(tree[at:], 20)} after the end of the tree")
        if leaf := _LEAF.match(tree, at):
            tags.append(leaf[1])
            words.append(leaf[4])
        elif node := _NODE.match(tree, at):
            open_nodes.append([at + 1, int(node[3]), 0])
            at = node.end()
            continue
        elif not (_CLOSE.match(tree, at) and open_nodes):
            expected = "'(<T …>', '(<L …>)' or ')'" if open_nodes else "'(<T …>' or '(<L …>)'"
            raise _TreeError(at + 1, f"{shown(tree[at:], 20)} where {expected} was expected")
        else:
            column, announced, seen = open_nodes.pop()
            if announced != seen:
                raise _TreeError(column, f"the node announces {announced} daughters, has {seen}")
        if open_nodes:
            open_nodes[-1][2] += 1
        match = leaf or _CLOSE.match(tree, at)
        assert match is not None
        at = match.end()
    if open_nodes:
        raise _TreeError(open_nodes[-1][0], "this bracket is never closed")
    return words, tags


def auto_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """Sentences of a CCGbank `.auto` file: a line "ID=…", then a line with the derivation.

    Anything else is refused.
    """
    name = ""
    for number, line in lines:
        tree = line.strip()
        if tree.startswith("ID="):
            name = tree.split()[0].removeprefix("ID=").rstrip(",")
        elif tree:
            if not tree.startswith("("):
                raise bad(path, number, f"{shown(tree, 30)} where 'ID=…' or '(<T …' was expected")
            try:
                words, tags = parse_auto(tree)
            except _TreeError as error:
                indent = len(line) - len(line.lstrip())
                what = f"bracket error at column {error.column + indent}: {error}"
                raise bad(path, number, what) from error
            yield number, {"id": name, "tokens": words, "ccg_tags": tags}
            name = ""


def pipe_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    """Sentences in C&C's format: one a line, every word as `word|POS|category`.

    A word of another form is refused.
    """
    for number, line in lines:
        # C&C's own output opens with comments; a word "#" would stand as "#|#|N".
        if not line.strip() or (line.startswith("#") and not line.startswith("#|")):
            continue
        words: list[str] = []
        tags: list[str] = []
        for position, token in enumerate(line.split(), start=1):
            parts = token.rsplit("|", 2)
            if len(parts) != 3 or not all(parts):
                what = f"word {position} is {shown(token)} where 'word|POS|category' was expected"
                raise bad(path, number, what)
            words.append(parts[0])
            tags.append(parts[2])
        yield number, {"tokens": words, "ccg_tags": tags}
