"""Quora Question Pairs: do two questions ask the same?"""

from __future__ import annotations

from adapter_stilts.heads.classification import PairExample
from adapter_stilts.tasks.rows import label_index, text
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec, hub_splits

LABELS = ("not_duplicate", "duplicate")


def example(row: Row) -> PairExample | None:
    """One pair; None for the rows of GLUE's train.tsv that a line break cut in two."""
    columns = ("question1", "question2", "label")
    if any(row[column] is None for column in columns):
        return None
    return {
        "id": str(row.get("id") or ""),
        "text_a": text(row, "question1"),
        "text_b": text(row, "question2"),
        "label": label_index(row["label"], LABELS),
    }


TASK = TaskSpec(
    name="qqp",
    title="Quora Question Pairs, paraphrase",
    head="classification",
    metric="f1",
    sources=(
        Source(
            name="qqp",
            folders=("qqp", "QQP", "glue/QQP"),
            hub=HubData(
                id="nyu-mll/glue",
                revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
                splits=hub_splits("qqp", train="train", dev="validation"),
            ),
            files=(
                FileData("jsonl", {"train": ("train.jsonl",), "dev": ("validation.jsonl",)}),
                FileData(
                    "tsv",
                    {"train": ("train.tsv",), "dev": ("dev.tsv",)},
                    columns={"is_duplicate": "label"},
                ),
            ),
        ),
    ),
    to_example=example,
    labels=LABELS,
    sizes={"train": 363_846, "dev": 40_430},
    licence="Quora's terms, non-commercial",
    citation=(
        "Shankar Iyer, Nikhil Dandekar and Kornél Csernai. First Quora Dataset Release: Question "
        "Pairs. 2017; as in Alex Wang et al. GLUE: A Multi-Task Benchmark and Analysis Platform "
        "for Natural Language Understanding. ICLR 2019. arXiv:1804.07461"
    ),
    published={
        "accuracy": 92.3,
        "model": "XLM-R Large, every weight trained",
        "source": "Conneau et al. 2020, arXiv:1911.02116, table 4 (dev)",
    },
    aliases=("quora", "quora-question-pairs"),
    max_length=128,
)
