"""The examples of a task's split, from the Hub, a folder or the samples; and raw text."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.data import cache
from adapter_stilts.data.formats import decode
from adapter_stilts.data.parts import (
    FilePart,
    HubPart,
    check_folder,
    find_parts,
    hub_parts,
    samples_folder,
)
from adapter_stilts.errors import Place, UserError, bad
from adapter_stilts.hashing import code_digest, json_digest, package_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Example
from adapter_stilts.heads.span import OffsetError
from adapter_stilts.heads.tagging import WordError
from adapter_stilts.tasks.spec import Row, Split, TargetSpec, TaskSpec

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import numpy.typing as npt

Part = FilePart | HubPart


def read_examples(
    task: TaskSpec,
    split: Split,
    parts: Sequence[Part],
    counts: cache.Parts,
    *,
    skip_bad: bool = False,
) -> Iterator[Example]:
    """Every example of every part, checked; `counts` gains the numbers of each part.

    A row that cannot be used is refused, or with `skip_bad` counted and left out. Of answers that
    are not at their offsets all are counted first.
    """
    seen: set[str] = set()
    for part in parts:
        kept = left_out = wrong = 0
        first: UserError | None = None
        for where, place, row in part.rows():
            try:
                example = _checked(task, split, row, part, seen)
            except ValueError as error:
                at = word_place(row, error.word, place) if isinstance(error, WordError) else place
                complaint = bad(where, at, str(error))
                if not (skip_bad or isinstance(error, OffsetError)):
                    raise complaint from error
                first, wrong = first or complaint, wrong + 1
                continue
            if example is None:
                left_out += 1
                continue
            if not example["id"]:
                number = kept + left_out + wrong
                example = {**example, "id": f"{part.source.name}-{number}"}
            kept += 1
            if skip_bad or not wrong:
                yield example
        if wrong and not skip_bad:
            more = f"; {wrong - 1:,} more answers are not at theirs" if wrong > 1 else ""
            remedy = "--skip-bad-rows leaves such rows out of a training"
            raise UserError(f"{first}{more}: {remedy}")
        if not kept:
            raise UserError(f"{part.source.name}: none of its {left_out} rows can be used")
        bad_rows = {"rows_bad": wrong, "first_bad": str(first)} if wrong else {}
        counts.append({"rows_kept": kept, "rows_left_out": left_out, **bad_rows})


def _checked(task: TaskSpec, split: Split, row: Row, part: Part, seen: set[str]) -> Example | None:
    example = convert_row(task, row, part)
    if example is None:
        return None
    head = get_head(task.head)
    if head.unique_ids:
        example = _unique(task, example, seen)
    if split == "train":
        head.check_learnt(example)
    return example


def word_place(row: Row, word: int, place: Place) -> Place:
    """The line of a word, in files with a word a line."""
    lines = row.get("lines")
    return lines[word] if isinstance(lines, list) and word < len(lines) else place


def _unique(task: TaskSpec, example: Example, seen: set[str]) -> Example:
    """What is scored by its id would be hidden by another of the same id.

    Where a task's ids may repeat, a later one gains a hash of what the example holds. All others
    stay as they are: it is by them that official code finds predictions.
    """
    if example["id"] in seen and task.repeated_ids:
        example = {**example, "id": f"{example['id']}-{json_digest(example)[:12]}"}
    if example["id"] and example["id"] in seen:
        raise ValueError("this id appears a second time")
    seen.add(example["id"])
    return example


def convert_row(task: TaskSpec, row: Row, part: Part) -> Example | None:
    """The row as an example that the task's head accepts, or None if the task leaves it out.

    Raises:
        ValueError: says what is wrong with the row.
    """
    columns = part.columns
    try:
        example = task.to_example(
            {columns.get(name, name): value for name, value in row.items()} if columns else row
        )
    except KeyError as error:
        missing = next((old for old, new in columns.items() if new == error.args[0]), error.args[0])
        # Files of tagged words add the numbers of the lines, which are no column.
        names = (name for name in row if name != "lines" or not isinstance(row[name], list))
        there = ", ".join(names)
        raise ValueError(f"no column '{missing}' (the columns are {there})") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a value of another type than expected ({error})") from error
    except (UserError, ValueError) as error:
        if type(error) is ValueError and _is_header(row, columns.values()):
            what = "is this a header, of a file that has none? remove the line"
            raise ValueError(f"{error}; {what}") from error
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"to_example fails with {type(error).__name__}: {error}") from error
    if example is not None:
        head = get_head(task.head)
        head.check_columns(example)
        head.check(task, example)
    return example


def _is_header(row: Row, names: Iterable[str]) -> bool:
    """Whether most of what stands in a row is the name of a column."""
    texts = [cell.strip().lower() for cell in row.values() if isinstance(cell, str)]
    known = {name.lower() for name in (*row, *names)} | _HEADER
    return 2 * sum(text in known for text in texts) > len(texts)


_HEADER = {"label", "gold_label", "premise", "hypothesis", "sentence1", "sentence2"}
"""What columns are called in releases, beside the names that they have here."""

logger = logging.getLogger(__name__)

_READERS = package_digest("adapter_stilts.data", "adapter_stilts.tasks")
"""The code that reads rows and checks examples; a task's own function counts for itself."""


@dataclass(frozen=True)
class ExampleSet:
    """The examples of one split, and what they are.

    `examples` has the columns of the example type of the task's head. `fingerprint` stands for
    their content, whatever they were read from and by whatever code. `origin` is "hub", "sample"
    or the folder as it was given. Each of `parts` tells a source's name, its files (or its Hub
    id, revision and splits), and the rows kept and left out. `read_from` stands for the bytes of
    the files and what was drawn of them, whatever code read them.
    """

    examples: datasets.Dataset
    fingerprint: str
    origin: str
    parts: tuple[dict[str, Any], ...]
    read_from: str = ""


def warn_of_unknown_tags(name: str, data: ExampleSet, known: Collection[str]) -> None:
    """Says which tags of tagged sentences a head with the known ones can never predict."""
    tags = Counter(tag for sentence in data.examples["tags"] for tag in sentence)
    unknown = Counter({tag: count for tag, count in tags.items() if tag not in known})
    if not unknown:
        return
    files = [Path(file).name for part in data.parts for file in part.get("files", ())]
    counts = [f"{tag} ({count:,})" for tag, count in unknown.most_common(6)]
    logger.warning(
        "%s: %s of %s tags in %s are none that the training data has, so they count as wrong: %s%s",
        name,
        f"{unknown.total():,}",
        f"{tags.total():,}",
        ", ".join(files[:3] or [str(part.get("hub")) for part in data.parts]),
        ", ".join(counts),
        f", and {len(unknown) - 6:,} more" if len(unknown) > 6 else "",
    )


def load_examples(
    task: TaskSpec,
    split: Split,
    where: str | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> ExampleSet:
    """The examples of a task's split.

    Args:
        task: the task.
        split: "train", "dev" or "test".
        where: "hub", "sample", or a folder that holds the official files or the tasks' folders.
            None means the environment's `ADSTILTS_DATA`, or else the Hub.
        limit: draw that many examples at random; all of them where there are fewer.
        seed: decides which are drawn, and in which order.
        skip_bad: leave out rows that cannot be used, and say how many; without, they are refused.

    Raises:
        UserError: the data is not there, malformed, or the limit is not positive.
        FailureError: the cache cannot be written.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit}: at least one example is needed")
    if seed < 0:
        raise UserError(f"seed {seed}: a seed is not negative")
    origin = origin_of(task, where)
    parts = find_all(task, split, origin)
    origin = next((part.source.given for part in parts if part.source.given), origin)
    read_from = read_from_of(task, split, parts)
    written = cache.ensure_examples(
        examples_key(task, read_from, skip_bad=skip_bad),
        task.head,
        lambda counts: read_examples(task, split, parts, counts, skip_bad=skip_bad),
    )
    _tell_bad(task, written.parts)
    # A label is a number: what it means is content, too.
    meaning = [task.head, list(task.labels), task.choices]
    fingerprint = json_digest([written.content, meaning])[:32]
    examples = cache.map_examples(written.folder, fingerprint)
    if limit is not None and limit < len(examples):
        import numpy as np

        rows = np.random.default_rng(seed).choice(len(examples), size=limit, replace=False).tolist()
        fingerprint = json_digest([fingerprint, "rows", rows])[:32]
        read_from = json_digest([read_from, "limit", limit, "seed", seed])[:32]
        examples = examples.select(rows)
    described = tuple(
        {**part.describe(), **{key: value for key, value in count.items() if key != "first_bad"}}
        for part, count in zip(parts, written.parts, strict=True)
    )
    return ExampleSet(examples, fingerprint, origin, described, read_from)


def _tell_bad(task: TaskSpec, parts: cache.Parts) -> None:
    bad = [part for part in parts if part.get("rows_bad")]
    if bad:
        count = sum(part["rows_bad"] for part in bad)
        logger.warning(
            "%s: %d rows that cannot be used are left out, such as %s",
            task.name,
            count,
            bad[0]["first_bad"],
        )


def resolve_where(where: str | None) -> str:
    """Where data is read from: as given, or `ADSTILTS_DATA`, or the Hub."""
    return where or os.environ.get("ADSTILTS_DATA") or "hub"


def origin_of(task: TaskSpec | TargetSpec, where: str | None) -> str:
    """The same for one task: some say themselves where they are read from."""
    if own := next((source.root for source in task.sources), ""):
        return own
    only_hub = task.identity and task.sources and not task.sources[0].files
    return "hub" if only_hub else resolve_where(where)


def check_where(where: str | None) -> None:
    """Refuses a folder of data that is not there, for commands that would find nothing in it."""
    origin = resolve_where(where)
    if origin not in ("hub", "sample"):
        check_folder(Path(origin).expanduser())


def find_all(task: TaskSpec, split: Split, origin: str) -> Sequence[Part]:
    """The parts of one split: one of every source of the task; refused where one is not there."""
    origin = origin_of(task, origin)
    if origin == "hub" and not any(each.given for each in task.sources if each.has(split)):
        return hub_parts(task, split)
    folder = samples_folder() if origin == "sample" else Path(origin).expanduser()
    return find_parts(task, split, folder)


def read_from_of(task: TaskSpec, split: Split, parts: Sequence[Part]) -> str:
    """A hash of what the examples are read from: of the files' bytes, not of where they lie.

    A file that cannot be read is refused.
    """
    identities = [part.identity() for part in parts]
    own = {"identity": task.identity} if task.identity else {}
    spec = [task.name, split, task.head, list(task.labels), task.choices, task.unanswerable]
    # The records of modules name this hash: it is computed as it has been from the first one on.
    return json_digest({"version": 1, "task": spec, "parts": identities, **own})[:32]


def examples_key(task: TaskSpec, read_from: str, *, skip_bad: bool = False) -> str:
    """The key of examples in the cache: what they are read from, and all code that makes them."""
    rules = [task.unlabelled, task.repeated_ids, list(task.tags), skip_bad, _READERS]
    rules.append(code_digest(task.to_example))
    return json_digest([read_from, *rules])[:32]


DEV_LINES = 1000
"""Lines held out at most; of short texts a tenth."""


def read_language_text(
    path: Path, *, limit: int | None = None, dev_limit: int | None = None, seed: int = 0
) -> tuple[ExampleSet, ExampleSet]:
    """The lines to train on and those held out; equal lines are all on one side.

    The text is read line by line and kept as Arrow in the cache. Blank lines are left out. Which
    lines are held out follows from their content alone.

    Args:
        limit, dev_limit: lines to draw at random, by `seed`.

    Raises:
        UserError: no such file, none that ends in `.txt` in a folder, no text, or a line that is
            not UTF-8.
        FailureError: the cache cannot be written.
    """
    files = _files(path)
    try:
        digests = cache.file_digests(files)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    import numpy as np

    key = json_digest(["text", digests, _READERS])
    written = cache.ensure_examples(
        f"text-{key[:24]}", "text", lambda counts: _lines(files, counts)
    )
    lines = cache.map_examples(written.folder, written.content)
    held_out = _held_out(path, lines)
    train, dev = (
        _part(path, lines, np.flatnonzero(chosen), written.content, most, seed)
        for chosen, most in ((~held_out, limit), (held_out, dev_limit))
    )
    return train, dev


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.glob("*.txt") if each.is_file())
        if not found:
            raise UserError(f"text folder '{path}' has no .txt file")
        return found
    if not path.is_file():
        what = "is not a file" if path.exists() else "is not there"
        raise UserError(f"text file '{path}' {what}")
    return [path]


def _lines(files: list[Path], counts: cache.Parts) -> Iterator[Example]:
    """The files' lines that are not blank, one at a time."""
    for path in files:
        kept = 0
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if text := decode(path, number, raw).strip():
                    kept += 1
                    yield {"id": "", "text": text}
        counts.append({"kept": kept})


def _held_out(path: Path, lines: datasets.Dataset) -> npt.NDArray[np.bool_]:
    """Which lines are: those whose content has the smallest hashes."""
    import numpy as np

    if not len(lines):
        raise UserError(f"{path} has no text")
    # A batch at a time, as the text may be larger than the memory.
    texts = (text for batch in lines.iter(1000) for text in batch["text"])
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    marks = np.fromiter((int.from_bytes(each, "little") for each in digests), np.uint64, len(lines))
    different = np.unique(marks)
    if len(different) < 2:
        raise UserError(f"{path} has one line: some more are needed, of which one is held out")
    count = max(1, min(DEV_LINES, len(different) // 10))
    found: npt.NDArray[np.bool_] = marks <= different[count - 1]
    return found


def _part(
    path: Path,
    lines: datasets.Dataset,
    rows: npt.NDArray[np.int64],
    content: str,
    most: int | None,
    seed: int,
) -> ExampleSet:
    import numpy as np

    if most is not None and most < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    fingerprint = json_digest([content, hashlib.sha256(rows.tobytes()).hexdigest()])[:16]
    part = {"source": "text", "files": [each.name for each in _files(path)], "kept": len(rows)}
    return ExampleSet(lines.select(rows), fingerprint, str(path), (part,))
