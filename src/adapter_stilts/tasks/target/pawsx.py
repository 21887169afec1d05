"""PAWS-X: are two sentences that share their words paraphrases of each other? Seven languages.

Learnt from English PAWS, or from its machine translation into one of the other languages.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.classification import PairExample
from adapter_stilts.tasks.rows import given_label, text, unquoted
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Row,
    Source,
    TaskSpec,
    codes,
    hub_splits,
    one_file,
    target_of,
)

LANGUAGES = codes("en de es fr ja ko zh")
LABELS = ("not_paraphrase", "paraphrase")


def example(row: Row) -> PairExample:
    """One pair, in test sets without its label."""
    return {
        "id": str(row.get("id") or ""),
        "text_a": unquoted(text(row, "sentence1")),
        "text_b": unquoted(text(row, "sentence2")),
        "label": given_label(row, "label", LABELS),
    }


SOURCE = Source(
    name="pawsx",
    folders=("pawsx", "paws-x", "PAWS-X", "x-final"),
    hub=HubData(
        id="google-research-datasets/paws-x",
        revision="4cd8187c404bda33cb1f62b49b001115862acf37",
        splits=hub_splits("{lang}", train="train", dev="validation", test="test"),
    ),
    files=(
        FileData(
            "tsv",
            one_file("{split}-{lang}.tsv", "train", "dev", "test"),
            header=("sentence1", "sentence2", "label"),
        ),
        *(
            FileData(
                "tsv",
                {
                    "train": (f"{folder}{{lang}}/{{train}}.tsv",),
                    "dev": (f"{folder}{{lang}}/dev_2k.tsv",),
                    "test": (f"{folder}{{lang}}/test_2k.tsv",),
                },
            )
            for folder in ("", "x-final/")
        ),
    ),
)

STAGE = TaskSpec(
    name="pawsx",
    title="PAWS, paraphrase identification",
    head="classification",
    metric="accuracy",
    sources=(SOURCE,),
    to_example=example,
    labels=LABELS,
    sizes={"train": 49_401, "dev": 2_000},
    licence="free with credit",
    citation=(
        "Yinfei Yang, Yuan Zhang, Chris Tar and Jason Baldridge. PAWS-X: A Cross-lingual "
        "Adversarial Dataset for Paraphrase Identification. EMNLP 2019. arXiv:1908.11828"
    ),
    max_length=128,
)

TASK = replace(
    target_of(STAGE),
    title="PAWS-X, paraphrase identification",
    suites={"xtreme": LANGUAGES},
    parallel=True,
    near="qqp",
    train_languages=LANGUAGES,
    fields={"train": {lang: "train" if lang == "en" else "translated_train" for lang in LANGUAGES}},
    submitted=("0", "1"),
    aliases=("paws-x",),
    published={
        "accuracy": 86.4,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 7 languages)",
    },
)
