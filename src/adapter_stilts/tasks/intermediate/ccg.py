"""CCG supertagging: the combinatory category of every word, as CCGbank has it."""

from __future__ import annotations

from adapter_stilts.heads.tagging import TaggingExample
from adapter_stilts.tasks.rows import texts
from adapter_stilts.tasks.spec import FileData, Row, Source, TaskSpec


def example(row: Row) -> TaggingExample:
    """One sentence. The set of categories is learnt from the training sentences."""
    return {
        "id": str(row.get("id", "")),
        "words": texts(row, "tokens"),
        "tags": texts(row, "ccg_tags"),
    }


def _sections(prefix: str) -> FileData:
    """CCGbank below `prefix`: sections 02 to 21 to train on, 00 for development."""
    train = ("0[2-9]", "1[0-9]", "2[01]")
    return FileData(
        "auto",
        {
            "train": tuple(f"{prefix}AUTO/{section}/wsj_*.auto" for section in train),
            "dev": (f"{prefix}AUTO/00/wsj_*.auto",),
        },
        any_of=True,
    )


TASK = TaskSpec(
    name="ccg",
    title="CCGbank, combinatory categorial grammar supertags",
    head="tagging",
    metric="tag_accuracy",
    sources=(
        Source(
            name="ccg",
            folders=("ccg", "ccgbank", "CCGbank", "ccgbank_1_1", "ccg/ccgbank_1_1"),
            files=(
                _sections(""),
                _sections("data/"),
                FileData("auto", {"train": ("*train.auto",), "dev": ("*dev.auto",)}),
                FileData("pipe", {"train": ("wsj02-21.stagged",), "dev": ("wsj00.stagged",)}),
                FileData("pipe", {"train": ("train.stagged",), "dev": ("dev.stagged",)}),
                FileData("pipe", {"train": ("train.pipe",), "dev": ("dev.pipe",)}),
                FileData("jsonl", {"train": ("train.jsonl",), "dev": ("validation.jsonl",)}),
                FileData(
                    "jsonl",
                    {"train": ("pmb_en_train.jsonl",), "dev": ("pmb_en_validation.jsonl",)},
                    title="Parallel Meaning Bank (English) in the notation of CCGbank, "
                    "combinatory categorial grammar supertags",
                    licence="terms of the Parallel Meaning Bank",
                    citation="Lasha Abzianidze et al. The Parallel Meaning Bank: Towards a "
                    "Multilingual Corpus of Translations Annotated with Compositional Meaning "
                    "Representations. EACL 2017. arXiv:1702.03964",
                ),
                FileData(
                    "jsonl", {"train": ("sample_train.jsonl",), "dev": ("sample_validation.jsonl",)}
                ),
            ),
            obtain="CCGbank (LDC2005T13) is licensed and not on the Hub: buy it from the LDC and "
            "point --data at the folder that holds its AUTO folder",
        ),
    ),
    to_example=example,
    sizes={"train": 39_604, "dev": 1_913},
    licence="LDC User Agreement (LDC2005T13)",
    citation=(
        "Julia Hockenmaier and Mark Steedman. CCGbank: A Corpus of CCG Derivations and Dependency "
        "Structures Extracted from the Penn Treebank. Computational Linguistics 33(3), 2007"
    ),
    aliases=("ccgbank", "ccg-supertagging", "supertagging"),
)
