"""Small files of the retrieval tasks, and vectors by the plainest way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapter_stilts.engine.engine import Engine
from adapter_stilts.zoo.local import Composed
from made_modules import make_module

NONE = Composed("none", "none", "none", None, "", "", None)
WORDS = "rain boat river school bread paper winter window doctor music garden letter".split()  # noqa: SIM905


def composed(engine: Engine, name: str, **options: Any) -> Composed:
    """A composition of one random module."""
    make_module(engine, name, "bottleneck", "embedding", **options)
    return Composed(name, f"identity-{name}", f"content-{name}", None, name, name, name)


def sentence(number: int) -> str:
    """A sentence of its own for every number below 144."""
    first, second = WORDS[number % 12], WORDS[(number // 12 + 5 * number) % 12]
    return f"the {first} and a {second} in the {WORDS[number // 12]}"


def vectors(engine: Engine, texts: Sequence[Any], layer: int) -> np.ndarray[Any, Any]:
    """The mean of a layer's hidden states, text by text, of length 1, in float64."""
    found = []
    for text in texts:
        parts = text if isinstance(text, tuple) else (text,)
        encoded = engine.backbone.tokenizer(*parts, return_tensors="pt")
        with torch.inference_mode():
            output = engine.model(input_ids=encoded["input_ids"], output_hidden_states=True)
        vector = output.hidden_states[layer][0].double().mean(0)
        found.append((vector / vector.norm()).numpy())
    return np.stack(found)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def write_tatoeba(data: Path, code: str, pairs: Sequence[tuple[str, str]]) -> None:
    """LASER's two files of a language: English and the other sentences, line by line."""
    for side, ending in enumerate(("eng", code)):
        lines = "".join(f"{pair[side]}\n" for pair in pairs)
        write(data / "tatoeba" / "v1" / f"tatoeba.{code}-eng.{ending}", lines)


def write_bucc(
    data: Path,
    language: str,
    split: str,
    sources: Mapping[str, str],
    targets: Mapping[str, str],
    gold: Sequence[tuple[str, str]] | None,
) -> None:
    """XTREME's three files of a split; without `gold` two."""
    for ending, side in ((language, sources), ("en", targets)):
        lines = "".join(f"{name}\t{text}\n" for name, text in side.items())
        write(data / "bucc2018" / f"{language}-en.{split}.{ending}", lines)
    if gold is not None:
        lines = "".join(f"{source}\t{target}\n" for source, target in gold)
        write(data / "bucc2018" / f"{language}-en.{split}.gold", lines)


def write_lareqa(
    data: Path, language: str, paragraphs: Sequence[Sequence[tuple[str, str]]]
) -> None:
    """XQuAD-R: paragraphs of sentences, each with the question it answers; `q1` is its id."""
    number, written = 0, []
    for sentences in paragraphs:
        context, breaks, questions = "", [], []
        for text, question in sentences:
            start = len(context)
            context += f"{text} "
            breaks.append([start, start + len(text)])
            if question:
                answers = [{"text": text.split()[0], "answer_start": start}]
                questions.append({"id": f"q{number}", "question": question, "answers": answers})
                number += 1
        paragraph = {"context": context.strip(), "qas": questions, "sentence_breaks": breaks}
        written.append({"paragraphs": [paragraph]})
    write(data / "lareqa" / "xquad-r" / f"{language}.json", json.dumps({"data": written}))


def write_mewslix(
    data: Path, language: str, split: str, mentions: Sequence[tuple[str, str, str]]
) -> None:
    """An article a mention: its id, its text (the first word is the mention), its entity."""
    lines = []
    for name, text, entity in mentions:
        span = {"start": 0, "end": len(text.split()[0]), "text": text.split()[0]}
        context = {"text": text, "sentence_spans": [{"start": 0, "end": len(text)}]}
        mention = {"example_id": name, "mention_span": span, "entity_id": entity}
        lines.append(json.dumps({"context": context, "mentions": [mention]}))
    place = data / "mewslix" / "wikinews_mentions" / f"{split}-{language}.jsonl"
    write(place, "\n".join(lines) + "\n")


def write_entities(data: Path, entities: Mapping[str, str]) -> None:
    """The candidates of Mewsli-X."""
    lines = [
        json.dumps({"entity_id": name, "description": text}) for name, text in entities.items()
    ]
    write(data / "mewslix" / "candidate_set_entities.jsonl", "\n".join(lines) + "\n")
