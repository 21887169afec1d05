"""SQuAD 2.0: as SQuAD 1.1, but half of the questions have no answer in the paragraph."""

from __future__ import annotations

from adapter_stilts.tasks.intermediate.squad import span_example
from adapter_stilts.tasks.spec import FileData, HubData, Source, TaskSpec

TASK = TaskSpec(
    name="squad-v2",
    title="SQuAD 2.0, question answering with unanswerable questions",
    head="span",
    metric="squad_v2",
    sources=(
        Source(
            name="squad_v2",
            folders=("squad_v2", "squad2", "squad2.0", "SQuAD2"),
            hub=HubData(
                id="rajpurkar/squad_v2",
                revision="3ffb306f725f7d2ce8394bc1873b24868140c412",
                splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
            ),
            files=(FileData("squad", {"train": ("train-v2.0.json",), "dev": ("dev-v2.0.json",)}),),
        ),
    ),
    to_example=span_example,
    sizes={"train": 130_319, "dev": 11_873},
    licence="CC BY-SA 4.0",
    citation=(
        "Pranav Rajpurkar, Robin Jia and Percy Liang. Know What You Don't Know: Unanswerable "
        "Questions for SQuAD. ACL 2018. arXiv:1806.03822"
    ),
    published={
        "exact_match": 81.8,
        "f1": 84.9,
        "model": "XLM-R Large, every weight trained",
        "source": "card of deepset/xlm-roberta-large-squad2 (dev)",
    },
    aliases=("squad2", "squad-v2.0", "squad2.0"),
    unanswerable=True,
    max_length=384,
)
