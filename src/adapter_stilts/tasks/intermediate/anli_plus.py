"""ANLI+: adversarial NLI, rounds 1 to 3, together with SNLI and MultiNLI, under one head."""

from __future__ import annotations

from adapter_stilts.tasks.intermediate import mnli
from adapter_stilts.tasks.spec import FileData, HubData, Source, TaskSpec

SNLI = Source(
    name="snli",
    folders=("snli", "SNLI", "snli_1.0"),
    hub=HubData(
        id="stanfordnlp/snli",
        revision="cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
        splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
    ),
    files=(
        FileData("jsonl", {"train": ("train.jsonl",), "dev": ("validation.jsonl",)}),
        FileData(
            "jsonl",
            {"train": ("snli_1.0_train.jsonl",), "dev": ("snli_1.0_dev.jsonl",)},
            columns=mnli.JSONL_COLUMNS,
        ),
    ),
)

ANLI = Source(
    name="anli",
    folders=("anli", "anli_v1.0"),
    hub=HubData(
        id="facebook/anli",
        revision="8e4813d81f46d313dac7892e1c28076917cfcdf9",
        splits={
            "train": tuple({"split": f"train_r{number}"} for number in (1, 2, 3)),
            "dev": tuple({"split": f"dev_r{number}"} for number in (1, 2, 3)),
        },
    ),
    files=(
        FileData(
            "jsonl",
            {
                "train": ("train_r1.jsonl", "train_r2.jsonl", "train_r3.jsonl"),
                "dev": ("dev_r1.jsonl", "dev_r2.jsonl", "dev_r3.jsonl"),
            },
        ),
        FileData(
            "jsonl",
            {
                "train": ("R1/train.jsonl", "R2/train.jsonl", "R3/train.jsonl"),
                "dev": ("R1/dev.jsonl", "R2/dev.jsonl", "R3/dev.jsonl"),
            },
            columns={"context": "premise"},
        ),
    ),
)

TASK = TaskSpec(
    name="anli-plus",
    title="ANLI with SNLI and MultiNLI, natural language inference made hard",
    head="classification",
    metric="accuracy",
    sources=(SNLI, mnli.SOURCE, ANLI),
    to_example=mnli.nli_example,
    labels=mnli.LABELS,
    sizes={"train": 549_367 + 392_702 + 162_865, "dev": 9_842 + 9_815 + 3_200},
    licence="CC BY-NC 4.0 (ANLI), CC BY-SA 4.0 (SNLI), OANC and others (MultiNLI)",
    citation=(
        "Yixin Nie, Adina Williams, Emily Dinan, Mohit Bansal, Jason Weston and Douwe Kiela. "
        "Adversarial NLI: A New Benchmark for Natural Language Understanding. ACL 2020. "
        "arXiv:1910.14599; Samuel R. Bowman, Gabor Angeli, Christopher Potts and Christopher D. "
        "Manning. A large annotated corpus for learning natural language inference. EMNLP 2015. "
        "arXiv:1508.05326; and MultiNLI"
    ),
    aliases=("anli", "anli+"),
)
