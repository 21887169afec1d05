"""XNLI: does the premise entail the hypothesis, contradict it, or neither? Fifteen languages.

Learnt from MultiNLI, or from its machine translation, which the release has for every language.
Its dev set chooses the checkpoint.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.classification import PairExample
from adapter_stilts.tasks.intermediate import mnli
from adapter_stilts.tasks.rows import given_label, text, unquoted
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Row,
    Source,
    TaskSpec,
    codes,
    hub_splits,
    target_of,
)

LANGUAGES = codes("en ar bg de el es fr hi ru sw th tr ur vi zh")
HUB = ("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e")
XTREME = ("premise", "hypothesis", "label")


def example(row: Row) -> PairExample:
    """One pair, in test sets without its label.

    The translations of MultiNLI, and some copies of the test sets, call a contradiction
    "contradictory", which XTREME's preprocessing mends.
    """
    if row.get("label") == "contradictory":
        row = {**row, "label": "contradiction"}
    return {
        "id": str(row.get("id") or ""),
        "text_a": unquoted(text(row, "premise")),
        "text_b": unquoted(text(row, "hypothesis")),
        "label": given_label(row, "label", mnli.LABELS),
    }


def train_example(row: Row) -> PairExample | None:
    """One training pair; None without a label that the annotators agreed on."""
    return None if row["label"] in ("-", -1) else example(row)


SOURCE = Source(
    name="xnli",
    folders=("xnli", "XNLI"),
    hub=HubData(*HUB, splits=hub_splits("{lang}", dev="validation", test="test")),
    files=(
        FileData("tsv", {"dev": ("dev-{lang}.tsv",), "test": ("test-{lang}.tsv",)}, header=XTREME),
        *(
            FileData(
                "tsv",
                {"dev": (f"{folder}xnli.dev.tsv",), "test": (f"{folder}xnli.test.tsv",)},
                columns=mnli.JSONL_COLUMNS,
                only=("language", "{lang}"),
            )
            for folder in ("", "XNLI-1.0/")
        ),
    ),
)

TRAIN = Source(
    name="xnli_train",
    folders=("mnli", "MNLI", "multinli_1.0", "glue/MNLI", "xnli", "XNLI"),
    hub=HubData(*HUB, splits={"train": ({"config": "{lang}", "split": "train"},)}),
    files=(
        FileData("tsv", {"train": ("train-{lang}.tsv",)}, header=XTREME),
        *(
            FileData(
                "tsv",
                {"train": (f"{folder}multinli.train.{{lang}}.tsv",)},
                columns={"hypo": "hypothesis"},
            )
            for folder in ("", "multinli/", "XNLI-MT-1.0/multinli/")
        ),
        FileData("jsonl", {"train": ("{english}train.jsonl",)}),
        FileData(
            "jsonl", {"train": ("{english}multinli_1.0_train.jsonl",)}, columns=mnli.JSONL_COLUMNS
        ),
        FileData("tsv", {"train": ("{english}train.tsv",)}, columns=mnli.JSONL_COLUMNS),
    ),
)

STAGE = TaskSpec(
    name="xnli",
    title="MultiNLI, to be tried on XNLI",
    head="classification",
    metric="accuracy",
    sources=(TRAIN, SOURCE),
    to_example=train_example,
    labels=mnli.LABELS,
    sizes={"train": 392_702, "dev": 2_490},
    licence="OANC and others, by genre (MultiNLI), CC BY-NC 4.0 (XNLI)",
    citation=(
        "Alexis Conneau, Ruty Rinott, Guillaume Lample, Adina Williams, Samuel R. Bowman, Holger "
        "Schwenk and Veselin Stoyanov. XNLI: Evaluating Cross-lingual Sentence Representations. "
        "EMNLP 2018. arXiv:1809.05053"
    ),
    max_length=128,
)

TASK = replace(
    target_of(STAGE),
    title="XNLI, natural language inference",
    suites={"xtreme": LANGUAGES, "xtreme-r": LANGUAGES},
    parallel=True,
    sources=(SOURCE,),
    to_example=example,
    licence="CC BY-NC 4.0",
    near="anli-plus",
    train_languages=LANGUAGES,
    # MultiNLI's own files are English: in another language this names files that nobody has.
    fields={"english": {"en": ""}},
    published={
        "accuracy": 79.2,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 15 languages)",
    },
)
