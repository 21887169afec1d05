"""SQuAD 1.1: the span of a paragraph that answers a question."""

from __future__ import annotations

from adapter_stilts.heads.span import SpanExample
from adapter_stilts.tasks.rows import text
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TaskSpec


def span_example(row: Row) -> SpanExample:
    """One question with the answers its annotators gave (none: the paragraph has no answer)."""
    return {
        "id": text(row, "id"),
        "question": text(row, "question"),
        "context": text(row, "context"),
        "answers": list(row["answers"]["text"]),
        "answer_starts": list(row["answers"]["answer_start"]),
    }


TASK = TaskSpec(
    name="squad",
    title="SQuAD 1.1, extractive question answering",
    head="span",
    metric="squad",
    sources=(
        Source(
            name="squad",
            folders=("squad", "SQuAD", "squad_v1", "squad1.1"),
            hub=HubData(
                id="rajpurkar/squad",
                revision="7b6d24c440a36b6815f21b70d25016731768db1f",
                splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
            ),
            files=(FileData("squad", {"train": ("train-v1.1.json",), "dev": ("dev-v1.1.json",)}),),
        ),
    ),
    to_example=span_example,
    sizes={"train": 87_599, "dev": 10_570},
    licence="CC BY-SA 4.0",
    citation=(
        "Pranav Rajpurkar, Jian Zhang, Konstantin Lopyrev and Percy Liang. SQuAD: 100,000+ "
        "Questions for Machine Comprehension of Text. EMNLP 2016. arXiv:1606.05250"
    ),
    published={
        "exact_match": 86.0,
        "f1": 92.3,
        "model": "XLM-R Large, every weight trained",
        "source": "eval_results.json of Palak/xlm-roberta-large_squad (dev)",
    },
    aliases=("squad-v1", "squad-v1.1", "squad1"),
    max_length=384,
)
