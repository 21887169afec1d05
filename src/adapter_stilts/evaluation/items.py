"""Scores of single items, beside the predictions they are of: one small Parquet file a language.

Columns: `id`; `cluster`, what items are drawn by (an article's title or text, else the id);
`numerator` and `denominator`, see `item_counts`; `length` of the input and `answer_length`, see
`item_lengths`. Files of earlier versions lack the lengths.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapter_stilts.data.load import ExampleSet, find_all, load_examples, resolve_where
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import LanguageData
from adapter_stilts.evaluation.files import items_path, unwritable
from adapter_stilts.hashing import text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Head
from adapter_stilts.inference.search import Floats, distinct, mine
from adapter_stilts.metrics import primary
from adapter_stilts.metrics.labels import chunks
from adapter_stilts.metrics.retrieval import K, Pair, average_precision
from adapter_stilts.metrics.squad import MLQA_LANGUAGES, mlqa_scores, squad_scores
from adapter_stilts.paths import atomic_file
from adapter_stilts.tasks.spec import Split, TargetSpec

METRICS = ("accuracy", "squad", "exact_match", "mlqa", "seqeval_f1", "bitext_f1", "map_at_20")
"""Those whose items are counted here."""
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("numerator", pa.float64()),
        ("denominator", pa.float64()),
        ("length", pa.int32()),
        ("answer_length", pa.int32()),
    ]
)


def has_items(target: TargetSpec, entry: Mapping[str, Any]) -> bool:
    """Whether a language's score is a sum over items that its predictions tell."""
    pairs = target.retrieval is None and not get_head(target.head).has_weights
    return bool(entry["labelled"]) and target.metric in METRICS and not pairs


def ensure_items(
    folder: Path,
    entry: Mapping[str, Any],
    target: TargetSpec,
    split: Split,
    language: str,
    data: LanguageData,
    where: str | None,
) -> pa.Table:
    """A language's items, read where they are there, else made of predictions and data.

    `entry` is what `evaluation.json` says of the language, in the predictions' `folder`. Refuses
    predictions that are not those of the data.
    """
    predictions = folder / str(entry["file"])
    told = float(entry["scores"][primary(target.metric)])
    about = {"predictions": entry["sha256"], "data": entry["data"], "score": told}
    path = items_path(predictions)
    if (found := _read(path, about)) is not None:
        return found
    try:
        text = predictions.read_text(encoding="utf-8")
        rows = _rows(target, split, language, text, data, where, entry)
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{predictions}: no predictions of these data ({error})") from error
    total = sum(row["denominator"] for row in rows)
    score = 100 * sum(row["numerator"] for row in rows) / total if total else 0.0
    if not math.isclose(score, told, abs_tol=1e-6):
        raise UserError(
            f"{predictions}: its items score {score:.6f}, its record says {told:.6f}: "
            "evaluate it again with --overwrite"
        )
    marked = table.replace_schema_metadata({_MARK: json.dumps(about, allow_nan=False)})
    try:
        with atomic_file(path) as work:
            pq.write_table(marked, work, compression="zstd")
    except OSError as error:
        raise unwritable(path, error) from error
    return table


_MARK = b"adapter_stilts"


def _read(path: Path, about: Mapping[str, Any]) -> pa.Table | None:
    """The table, if it is whole and of these predictions."""
    with suppress(OSError, pa.ArrowException, ValueError):
        table = pq.read_table(path)
        known = (table.schema.metadata or {}).get(_MARK, b"null")
        if table.schema.equals(SCHEMA) and json.loads(known) == dict(about):
            return table
    return None


def _rows(
    target: TargetSpec,
    split: Split,
    language: str,
    text: str,
    data: LanguageData,
    where: str | None,
    entry: Mapping[str, Any],
) -> list[dict[str, Any]]:
    examples = data.examples.examples
    if target.retrieval is not None:
        from adapter_stilts.evaluation.retrieval import draw_examples, relevant_ids

        drawn, places = draw_examples(data.examples, entry["settings"]["limit"])
        ids = list(drawn.examples["id"][:])
        clusters: Sequence[str] = ids
        if target.retrieval.search == "ranking":
            ranked = json.loads(text)
            relevant = relevant_ids(target, language, split, where, drawn.examples["gold"][:])
            pairs_of = zip((ranked[name] for name in ids), relevant, strict=True)
            counts = [(average_precision(found, right, K), 1.0) for found, right in pairs_of]
            titles = _titles(target, split, language, where)
            clusters = [titles.get(name) or name for name in ids]
        elif target.retrieval.search == "nearest":
            counts = equal_counts([int(line) for line in _lines(text)], places.tolist())
        else:
            listed = gold_pairs(load_examples(target.gold(language), split, where), drawn)
            pairs = [(a, b) for a, _, b in (line.partition("\t") for line in _lines(text))]
            counts = pair_counts(pairs, sorted(listed), ids)
        return _join_columns(
            ids, clusters, counts, item_lengths(get_head(target.head), drawn.examples)
        )
    ids = list(examples["id"][:])
    counts = _counts(target, language, text, examples)
    clusters = ids
    head = get_head(target.head)
    if head.unique_ids:
        clusters = article_clusters(target, split, language, where, examples)
    return _join_columns(ids, clusters, counts, item_lengths(head, examples))


def article_clusters(
    target: TargetSpec, split: Split, language: str, where: str | None, examples: Any
) -> list[str]:
    """The article of every question by its title where the files name it, else by its text."""
    titles = _titles(target, split, language, where)
    named = zip(examples["id"][:], examples["context"][:], strict=True)
    return [titles.get(name) or text_digest(context, 16) for name, context in named]


def _join_columns(
    ids: Sequence[str], clusters: Sequence[str], counts: Counts, lengths: Lengths
) -> list[dict[str, Any]]:
    return [
        dict(zip(SCHEMA.names, (name, cluster, *pair, *both), strict=True))
        for name, cluster, pair, both in zip(ids, clusters, counts, lengths, strict=True)
    ]


def _counts(target: TargetSpec, language: str, text: str, examples: Any) -> Counts:
    """The counts of the lines of a file of predictions, as `Head.written` makes them."""
    head = get_head(target.head)
    if head.unique_ids:
        answers = json.loads(text)
        texts = [answers[name] for name in examples["id"][:]]
        of = language.split("-")[0]  # of a pair such as en-de, the context's
        return answer_counts(texts, examples["answers"][:], metric=target.metric, language=of)
    if head.has_tags:
        blocks = text.removesuffix("\n\n").split("\n\n")
        return chunk_counts([block.split("\n") for block in blocks], examples["tags"][:])
    if head.chooses:
        options = [json.loads(line)["label"] for line in _lines(text)]
        return equal_counts(options, examples["label"][:])
    names = list(target.submitted or target.labels)
    return equal_counts([names.index(line) for line in _lines(text)], examples["label"][:])


def _lines(text: str) -> list[str]:
    return text.split("\n")[:-1]


def _titles(target: TargetSpec, split: Split, language: str, where: str | None) -> dict[str, str]:
    """The article of every question, where the files name it."""
    parts = find_all(target.at(language), split, resolve_where(where))
    rows = (row for part in parts for _, _, row in part.rows())
    return {str(row.get("id")): f"title: {row['title']}" for row in rows if row.get("title")}


Lengths = list[tuple[int, int | None]]
"""Of every item its input's length, and its answer's where the answer is a text."""


def item_lengths(head: Head, examples: Mapping[str, Sequence[Any]]) -> Lengths:
    """The lengths of examples, given as columns.

    An input's length is the number of its words where words are tagged, else of the characters
    (code points) of all texts that the head reads. An answer's is that of the shortest right one,
    in characters; None where there is none, or the head answers with no text of the input.
    """
    kinds = {name: head.columns[name] for name in head.inputs}
    inputs = [examples[name][:] for name in kinds]
    measure = len if head.has_tags else _characters
    lengths = [sum(map(measure, values)) for values in zip(*inputs, strict=True)]
    if "answers" not in head.columns:
        return [(length, None) for length in lengths]
    answers = [min(map(len, each), default=None) for each in examples["answers"][:]]
    return list(zip(lengths, answers, strict=True))


def _characters(value: str | Sequence[str]) -> int:
    return len(value) if isinstance(value, str) else sum(map(len, value))


Counts = list[tuple[float, float]]


def equal_counts(predictions: Sequence[Any], references: Sequence[Any]) -> Counts:
    """Of accuracy: labels, options, places."""
    return [(float(p == r), 1.0) for p, r in zip(predictions, references, strict=True)]


def answer_counts(
    predictions: Sequence[str], golds: Sequence[Sequence[str]], *, metric: str, language: str
) -> Counts:
    """Of the answers' F1 or exact match; MLQA's metric treats articles by the `language`."""
    known = language if language in MLQA_LANGUAGES else "hi"  # as it is scored: without articles
    found = []
    for text, gold in zip(predictions, golds, strict=True):
        if metric == "mlqa":
            exact, f1 = mlqa_scores(text, gold, language=known)
        else:
            exact, f1 = squad_scores(text, gold)
        found.append((exact if metric == "exact_match" else f1, 1.0))
    return found


def chunk_counts(predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Counts:
    """Of seqeval's F1: a chunk counts where it begins."""
    # There is a place between two sentences; see `chunks`.
    starts = [0, *accumulate(len(sentence) + 1 for sentence in gold)][:-1]
    found, right = chunks(predictions), chunks(gold)
    true = Counter(bisect_right(starts, first) - 1 for _, first, _ in found & right)
    wrong = Counter(bisect_right(starts, first) - 1 for _, first, _ in found ^ right)
    return [(2.0 * true[k], 2.0 * true[k] + wrong[k]) for k in range(len(gold))]


def pair_counts(
    predictions: Sequence[Pair], gold: Sequence[Pair], sources: Sequence[str]
) -> Counts:
    """Of the F1 of mined pairs: a pair counts at its first sentence."""
    found, right = set(predictions), set(gold)
    true = Counter(source for source, _ in found & right)
    wrong = Counter(source for source, _ in found ^ right)
    return [(2.0 * true[name], 2.0 * true[name] + wrong[name]) for name in sources]


def mined_pairs(
    sources: ExampleSet, targets: ExampleSet, source: Floats, target: Floats
) -> dict[Pair, float]:
    """The margin score of each mined pair of a query's and a candidate's id, best first.

    As XTREME does for BUCC: sentences that stand more than once are mined once, and left out of
    the pairs, since their id would be ambiguous.

    Args:
        source, target: vectors of the queries and of the candidates, (examples, D).
    """
    x, y = distinct(sources.examples["query"][:]), distinct(targets.examples["text"][:])
    found = mine(source[x.rows], target[y.rows])
    kept = x.once[found.source] & y.once[found.target]
    rows = x.rows[found.source[kept]], y.rows[found.target[kept]]
    ids = (data.examples["id"][:] for data in (sources, targets))
    names = [[column[row] for row in place] for column, place in zip(ids, rows, strict=True)]
    return dict(zip(zip(*names, strict=True), found.scores[kept].tolist(), strict=True))


def gold_pairs(gold: ExampleSet, among: ExampleSet) -> set[Pair]:
    """The listed pairs of those queries that are `among` the examples."""
    known = set(among.examples["id"][:])
    rows = zip(gold.examples["id"][:], gold.examples["gold"][:], strict=True)
    return {(name, right) for name, listed in rows if name in known for right in listed}
