"""Cosmos QA: reading between the lines of everyday stories, four answers to choose from."""

from __future__ import annotations

from adapter_stilts.heads.choice import ChoiceExample
from adapter_stilts.tasks.rows import label_index, text
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec


def example(row: Row) -> ChoiceExample:
    """One question. It stands before every answer, so that a long story never pushes it out."""
    question = text(row, "question")
    return {
        "id": text(row, "id"),
        "prompt": text(row, "context"),
        "options": [f"{question} {text(row, f'answer{number}')}" for number in range(4)],
        "label": label_index(row["label"], "0123"),
    }


TASK = TaskSpec(
    name="cosmos-qa",
    title="Cosmos QA, commonsense reading comprehension",
    head="choice",
    metric="accuracy",
    sources=(
        Source(
            name="cosmos_qa",
            folders=("cosmos_qa", "cosmosqa", "cosmosqa/data", "CosmosQA"),
            hub=HubData(
                id="allenai/cosmos_qa",
                # The main branch is a script; this commit of refs/convert/parquet is not.
                revision="ed50fe83db62b355759053b1cd5eef344ee371e0",
                splits={
                    "train": ({"split": "train", "files": "default/train/*.parquet"},),
                    "dev": ({"split": "validation", "files": "default/validation/*.parquet"},),
                },
            ),
            files=(
                FileData("csv", {"train": ("train.csv",), "dev": ("valid.csv",)}),
                FileData("jsonl", {"train": ("train.jsonl",), "dev": ("valid.jsonl",)}),
            ),
        ),
    ),
    to_example=example,
    choices=4,
    sizes={"train": 25_262, "dev": 2_985},
    licence="not stated (CC BY 4.0 on the Hub)",
    citation=(
        "Lifu Huang, Ronan Le Bras, Chandra Bhagavatula and Yejin Choi. Cosmos QA: Machine "
        "Reading Comprehension with Contextual Commonsense Reasoning. EMNLP 2019. "
        "arXiv:1909.00277"
    ),
    aliases=("cosmosqa", "cosmos"),
)
