"""HellaSwag: which of four endings goes on with the story?"""

from __future__ import annotations

from adapter_stilts.heads.choice import ChoiceExample
from adapter_stilts.tasks.rows import label_index, text, texts
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec


def example(row: Row) -> ChoiceExample:
    """One beginning with its four endings."""
    return {
        "id": str(row.get("ind", "")),
        "prompt": text(row, "ctx"),
        "options": texts(row, "endings"),
        "label": label_index(row["label"], "0123"),
    }


TASK = TaskSpec(
    name="hellaswag",
    title="HellaSwag, commonsense completion of stories",
    head="choice",
    metric="accuracy",
    sources=(
        Source(
            name="hellaswag",
            folders=("hellaswag", "hellaswag/data", "HellaSwag"),
            hub=HubData(
                id="Rowan/hellaswag",
                revision="218ec52e09a7e7462a5400043bb9a69a41d06b76",
                splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
            ),
            files=(
                FileData(
                    "jsonl", {"train": ("hellaswag_train.jsonl",), "dev": ("hellaswag_val.jsonl",)}
                ),
            ),
        ),
    ),
    to_example=example,
    choices=4,
    sizes={"train": 39_905, "dev": 10_042},
    licence="MIT",
    citation=(
        "Rowan Zellers, Ari Holtzman, Yonatan Bisk, Ali Farhadi and Yejin Choi. HellaSwag: Can a "
        "Machine Really Finish Your Sentence? ACL 2019. arXiv:1905.07830"
    ),
    published={
        "accuracy": 47.3,
        "model": "BERT Large, every weight trained",
        "source": "Zellers et al. 2019 (test)",
    },
)
