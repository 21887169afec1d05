"""BUCC 2018: find the pairs of translations in two large corpora. Four languages with English.

XTREME's dev set, on which the threshold is fitted, is BUCC's sample set; its test set is BUCC's
training set, as the true test set's pairs were never published. XTREME names the files `dev` and
`test`, BUCC `sample` and `training`. The Hub has the pairs without their corpora, or every corpus
as one row: neither is the task. There is no training data.
"""

from __future__ import annotations

from adapter_stilts.errors import shown
from adapter_stilts.heads.embedding import EmbeddingExample
from adapter_stilts.tasks.rows import text
from adapter_stilts.tasks.spec import FileData, Retrieval, Row, Source, TargetSpec

LANGUAGES = ("de", "fr", "ru", "zh")


def sentence_id(row: Row, column: str) -> str:
    """The id of a sentence, such as de-000000123; a `ValueError` where there is none."""
    name = text(row, column)
    if not name or any(char.isspace() for char in name):
        raise ValueError(f"{shown(name)} where the id of a sentence belongs, as de-000000123")
    return name


def example(row: Row) -> EmbeddingExample:
    """One sentence of the other language."""
    query = text(row, "sentence")
    return {"id": sentence_id(row, "id"), "query": query, "text": "", "context": "", "gold": []}


def candidate_example(row: Row) -> EmbeddingExample:
    """One English sentence."""
    found = text(row, "sentence")
    return {"id": sentence_id(row, "id"), "query": "", "text": found, "context": "", "gold": []}


def gold_example(row: Row) -> EmbeddingExample:
    """One pair of translations: the id of the sentence, and in `gold` that of its translation."""
    target = sentence_id(row, "target")
    return {
        "id": sentence_id(row, "source"),
        "query": "",
        "text": "",
        "context": "",
        "gold": [target],
    }


def _source(name: str, end: str, *header: str) -> Source:
    layouts = [
        (f"{folder}{{lang}}-en.{dev}.{end}", f"{folder}{{lang}}-en.{test}.{end}")
        for dev, test in (("dev", "test"), ("sample", "training"))
        for folder in ("", "{lang}-en/", "bucc2018/{lang}-en/")
    ]
    return Source(
        name=name,
        folders=("bucc2018", "bucc"),
        files=tuple(
            FileData("tsv", {"dev": (dev,), "test": (test,)}, header=header)
            for dev, test in layouts
        ),
        obtain="BUCC's corpora are not on the Hub in a usable form: get the sample and training "
        "sets of https://comparable.limsi.fr/bucc2018 and point --data at their folder",
    )


TASK = TargetSpec(
    name="bucc2018",
    title="BUCC 2018, bitext mining",
    category="retrieval",
    head="embedding",
    metric="bitext_f1",
    suites={"xtreme": LANGUAGES},
    sources=(_source("bucc2018", "{lang}", "id", "sentence"),),
    to_example=example,
    training=(),
    licence="research use",
    citation=(
        "Pierre Zweigenbaum, Serge Sharoff and Reinhard Rapp. Overview of the Third BUCC Shared "
        "Task: Spotting Parallel Sentences in Comparable Corpora. BUCC 2018"
    ),
    near="mnli",
    train_languages=(),
    retrieval=Retrieval(
        search="mining",
        candidates=(_source("bucc2018_candidates", "en", "id", "sentence"),),
        candidate_example=candidate_example,
        gold=(_source("bucc2018_gold", "gold", "source", "target"),),
        gold_example=gold_example,
    ),
    aliases=("bucc",),
)
