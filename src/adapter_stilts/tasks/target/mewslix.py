"""Mewsli-X: find the entity that a news article mentions, by its description. Eleven languages.

The candidates, a million descriptions in fifty languages, are the same for all. Learnt from
English Wikipedia as a dual encoder: mention in its sentence, description of the entity. It was
released again in 2022: XTREME-R's figures are of the first release. The release has one file for
all languages; XTREME-R's preprocessing splits it and blanks the entities of the test set.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from adapter_stilts.errors import shown
from adapter_stilts.heads.embedding import EmbeddingExample
from adapter_stilts.tasks.rows import text
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Retrieval,
    Row,
    Source,
    TaskSpec,
    codes,
    hub_splits,
    one_file,
    target_of,
)

LANGUAGES = codes("ar de en es fa ja pl ro ta tr uk")
HUB = ("izhx/mewsli-x", "7e3723faa15c6d84cfd56d66cf6cd347be8ad00e")


def mention_text(context: Row, mention: Row) -> str:
    """The mention, then its sentence with the mention in braces (XTREME-R's utils_mewslix.py).

    Braces that the sentence has of its own become parentheses. A mention that is in no sentence is
    a `ValueError`.
    """
    span = mention["mention_span"]
    start, end = span["start"], span["end"]
    sentences = [(each["start"], each["end"]) for each in context["sentence_spans"]]
    inside = next(((a, b) for a, b in sentences if a <= start < end <= b), None)
    if inside is None:
        raise ValueError(f"no sentence holds the mention {shown(span)}")
    whole = text(context, "text")
    before, after = (
        re.sub(r"\{(.*?)\}", r"(\1)", part)
        for part in (whole[inside[0] : start], whole[end : inside[1]])
    )
    name = whole[start:end]
    return _on_one_line(f"{name}: {before} {{ {name} }} {after}")


def entity_text(entity: Row) -> str:
    """The sentences of the description."""
    whole = text(entity, "description")
    spans = entity.get("sentence_spans") or [{"start": 0, "end": len(whole)}]
    return _on_one_line(" ".join(whole[span["start"] : span["end"]] for span in spans))


def _on_one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _query(row: Row) -> str:
    """The mention of a row; the Hub has it ready-made."""
    mention: Any = row["mention"]
    return mention if isinstance(mention, str) else mention_text(row["context"], mention)


def example(row: Row) -> EmbeddingExample:
    """One mention, with the entity that it means where that is told."""
    mention = row["mention"]
    known = row if isinstance(mention, str) else mention
    return {
        "id": str(known.get("example_id") or ""),
        "query": _query(row),
        "text": "",
        "context": "",
        "gold": [known["entity_id"]] if known.get("entity_id") else [],
    }


def candidate_example(row: Row) -> EmbeddingExample:
    """One entity: its description is what is searched."""
    name = text(row, "entity_id")
    return {"id": name, "query": "", "text": entity_text(row), "context": "", "gold": [name]}


def train_example(row: Row) -> EmbeddingExample:
    """One mention with the description of its entity."""
    pair = row.get("contextual_mention")
    entity = row["entity"]
    return {
        "id": "",
        "query": _query(row) if pair is None else mention_text(pair["context"], pair["mention"]),
        "text": entity if isinstance(entity, str) else entity_text(entity),
        "context": "",
        "gold": [],
    }


FOLDERS = ("mewslix", "mewsli-x", "mewsli_x/output/dataset")

STAGE = TaskSpec(
    name="mewslix",
    title="Mewsli-X, mentions in English Wikipedia",
    head="embedding",
    metric="map_at_20",
    sources=(
        Source(
            name="mewslix",
            folders=FOLDERS,
            hub=HubData(
                *HUB, splits=hub_splits("wikipedia_pairs", train="train", dev="validation")
            ),
            files=(FileData("jsonl", one_file("wikipedia_pairs-{split}.jsonl", "train", "dev")),),
        ),
    ),
    to_example=train_example,
    sizes={"train": 167_719, "dev": 14_051},
    licence="Wikipedia text, CC BY-SA",
    citation=(
        "Sebastian Ruder, Noah Constant, Jan Botha, Aditya Siddhant, Orhan Firat, Jinlan Fu, "
        "Pengfei Liu, Junjie Hu, Dan Garrette, Graham Neubig and Melvin Johnson. XTREME-R: "
        "Towards More Challenging and Nuanced Multilingual Evaluation. EMNLP 2021. arXiv:2104.07412"
    ),
    max_length=64,
)

TASK = dataclasses.replace(
    target_of(STAGE),
    title="Mewsli-X, entity linking by retrieval",
    suites={"xtreme-r": LANGUAGES},
    sources=(
        Source(
            name="mewslix",
            folders=FOLDERS,
            hub=HubData(*HUB, splits=hub_splits("{lang}", dev="validation", test="test")),
            files=(
                FileData(
                    "mentions", one_file("wikinews_mentions/{split}-{lang}.jsonl", "dev", "test")
                ),
                FileData(
                    "mentions",
                    one_file("wikinews_mentions-{split}.jsonl", "dev", "test"),
                    only=("context.language", "{lang}"),
                ),
            ),
        ),
    ),
    to_example=example,
    licence="WikiNews text, CC BY 2.5; Wikipedia text, CC BY-SA",
    retrieval=Retrieval(
        search="ranking",
        candidates=(
            Source(
                name="mewslix_candidates",
                folders=FOLDERS,
                hub=HubData(
                    *HUB,
                    splits={
                        split: ({"config": "candidate_entities", "split": "test"},)
                        for split in ("dev", "test")
                    },
                ),
                files=(
                    FileData(
                        "jsonl",
                        {
                            "dev": ("candidate_set_entities.jsonl",),
                            "test": ("candidate_set_entities.jsonl",),
                        },
                    ),
                ),
            ),
        ),
        candidate_example=candidate_example,
        shared=True,
    ),
    aliases=("mewsli-x", "mewsli"),
    published={
        "map_at_20": 45.7,
        "model": "XLM-R Large, every weight trained",
        "source": "Ruder et al. 2021, arXiv:2104.07412 (test, mean of 11 languages, first release)",
    },
)
