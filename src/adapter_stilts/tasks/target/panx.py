"""PAN-X (WikiANN): people, places and organisations in Wikipedia. 40 languages, in XTREME-R 48.

The balanced splits of Rahimi et al. 2019, which XTREME uses too. XTREME's own test files have no
tags; the release's and the Hub's have.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.tagging import TaggingExample
from adapter_stilts.tasks.rows import tag_names, texts
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Row,
    Source,
    TaskSpec,
    codes,
    one_file,
    target_of,
)

LANGUAGES = codes(
    "en af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw "
    "ta te th tl tr ur vi yo zh"
)
ADDED = codes("az gu lt pa pl qu ro uk")
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def example(row: Row) -> TaggingExample:
    """One sentence. The release writes every word with its language: "en:word"."""
    if "marked" in row:
        words = [word.partition(":")[2] for word in texts(row, "marked")]
    else:
        words = texts(row, "tokens")
    return {
        "id": str(row.get("id") or ""),
        "words": words,
        "tags": tag_names(row, "ner_tags", TAGS),
    }


SOURCE = Source(
    name="panx",
    folders=("panx", "panx_dataset", "wikiann"),
    hub=HubData(
        id="unimelb-nlp/wikiann",
        # The Parquet branch: no commit of the main branch is known to be free of scripts.
        revision="refs/convert/parquet",
        splits={
            "train": ({"split": "train", "files": "{lang}/train/*.parquet"},),
            "dev": ({"split": "validation", "files": "{lang}/validation/*.parquet"},),
            "test": ({"split": "test", "files": "{lang}/test/*.parquet"},),
        },
    ),
    files=(
        FileData(
            "conll",
            one_file("{split}-{lang}.tsv", "train", "dev", "test"),
            columns={"tags": "ner_tags"},
        ),
        *(
            FileData(
                "conll",
                one_file(pattern, "train", "dev", "test"),
                columns={"tags": "ner_tags", "tokens": "marked"},
            )
            for pattern in ("{lang}/{split}", "{lang}-{split}")
        ),
    ),
)

STAGE = TaskSpec(
    name="panx",
    title="PAN-X (WikiANN), named entities",
    head="tagging",
    metric="seqeval_f1",
    sources=(SOURCE,),
    to_example=example,
    tags=TAGS,
    sizes={"train": 20_000, "dev": 10_000},
    licence="Wikipedia text, CC BY-SA",
    citation=(
        "Xiaoman Pan, Boliang Zhang, Jonathan May, Joel Nothman, Kevin Knight and Heng Ji. "
        "Cross-lingual Name Tagging and Linking for 282 Languages. ACL 2017; Afshin Rahimi, Yuan "
        "Li and Trevor Cohn. Massively Multilingual Transfer for NER. ACL 2019. arXiv:1902.00193"
    ),
)

TASK = replace(
    target_of(STAGE),
    suites={"xtreme": LANGUAGES, "xtreme-r": tuple(sorted((*LANGUAGES, *ADDED)))},
    near="ccg",
    train_languages=(*LANGUAGES, *ADDED),
    aliases=("pan-x", "wikiann", "ner"),
    published={
        "f1": 65.4,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 40 languages)",
    },
)
