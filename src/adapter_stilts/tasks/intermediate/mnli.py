"""MultiNLI: does the premise entail the hypothesis, contradict it, or neither?"""

from __future__ import annotations

from adapter_stilts.heads.classification import PairExample
from adapter_stilts.tasks.rows import label_index, text
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec, hub_splits

LABELS = ("entailment", "neutral", "contradiction")
JSONL_COLUMNS = {"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"}
"""The columns of the MultiNLI and SNLI releases, and the Hub's names for them."""


def nli_example(row: Row) -> PairExample | None:
    """One pair; None where the annotators did not agree (label "-", or -1 on the Hub)."""
    label = row["label"]
    if label in ("-", -1):
        return None
    letters = {"e": "entailment", "n": "neutral", "c": "contradiction"}  # ANLI's release
    return {
        "id": str(row.get("uid") or row.get("pairID") or ""),
        "text_a": text(row, "premise"),
        "text_b": text(row, "hypothesis"),
        "label": label_index(letters.get(label, label), LABELS),
    }


SOURCE = Source(
    name="mnli",
    folders=("mnli", "MNLI", "multinli_1.0", "glue/MNLI"),
    hub=HubData(
        id="nyu-mll/glue",
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        splits=hub_splits("mnli", train="train", dev="validation_matched"),
    ),
    files=(
        FileData("jsonl", {"train": ("train.jsonl",), "dev": ("validation_matched.jsonl",)}),
        FileData(
            "jsonl",
            {"train": ("multinli_1.0_train.jsonl",), "dev": ("multinli_1.0_dev_matched.jsonl",)},
            columns=JSONL_COLUMNS,
        ),
        FileData(
            "tsv", {"train": ("train.tsv",), "dev": ("dev_matched.tsv",)}, columns=JSONL_COLUMNS
        ),
    ),
)

TASK = TaskSpec(
    name="mnli",
    title="MultiNLI, natural language inference in ten genres",
    head="classification",
    metric="accuracy",
    sources=(SOURCE,),
    to_example=nli_example,
    labels=LABELS,
    sizes={"train": 392_702, "dev": 9_815},
    licence="OANC and others, by genre",
    citation=(
        "Adina Williams, Nikita Nangia and Samuel Bowman. A Broad-Coverage Challenge Corpus for "
        "Sentence Understanding through Inference. NAACL 2018. arXiv:1704.05426"
    ),
    published={
        "accuracy": 88.9,
        "model": "XLM-R Large, every weight trained",
        "source": "Conneau et al. 2020, arXiv:1911.02116, table 4 (dev)",
    },
    aliases=("multinli",),
)
