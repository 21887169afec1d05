"""CommonsenseQA: a question about everyday things, five answers to choose from."""

from __future__ import annotations

from adapter_stilts.heads.choice import ChoiceExample
from adapter_stilts.tasks.rows import label_index, text, texts
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec


def example(row: Row) -> ChoiceExample:
    """One question, in the release's nested form or in the Hub's flat one."""
    question = row["question"]
    if isinstance(question, str):
        stem, letters = question, texts(row["choices"], "label")
        options = texts(row["choices"], "text")
    else:
        stem = text(question, "stem")
        letters = [text(choice, "label") for choice in question["choices"]]
        options = [text(choice, "text") for choice in question["choices"]]
    label = label_index(text(row, "answerKey"), letters)
    return {"id": text(row, "id"), "prompt": stem, "options": options, "label": label}


TASK = TaskSpec(
    name="commonsense-qa",
    title="CommonsenseQA, commonsense questions",
    head="choice",
    metric="accuracy",
    sources=(
        Source(
            name="commonsense_qa",
            folders=("commonsense_qa", "commonsenseqa", "csqa", "CommonsenseQA"),
            hub=HubData(
                id="tau/commonsense_qa",
                revision="94630fe30dad47192a8546eb75f094926d47e155",
                splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
            ),
            files=(
                FileData(
                    "jsonl",
                    {"train": ("train_rand_split.jsonl",), "dev": ("dev_rand_split.jsonl",)},
                ),
            ),
        ),
    ),
    to_example=example,
    choices=5,
    sizes={"train": 9_741, "dev": 1_221},
    licence="MIT",
    citation=(
        "Alon Talmor, Jonathan Herzig, Nicholas Lourie and Jonathan Berant. CommonsenseQA: A "
        "Question Answering Challenge Targeting Commonsense Knowledge. NAACL 2019. "
        "arXiv:1811.00937"
    ),
    published={
        "accuracy": 78.5,
        "model": "RoBERTa Large, every weight trained",
        "source": "fairseq, examples/roberta/commonsense_qa/README.md (dev)",
    },
    aliases=("csqa", "commonsenseqa", "commonsense"),
    max_length=128,
)
