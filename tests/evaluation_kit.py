"""Small target tasks of every head kind in four languages, their files, and modules for them."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from adapter_stilts.heads.base import Example
from adapter_stilts.tasks import registry
from adapter_stilts.tasks.spec import (
    Category,
    FileData,
    FileFormat,
    HeadKind,
    Row,
    Source,
    TargetSpec,
)
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import NO_HEAD
from made_modules import LABELS, make_engine, make_module, make_record, remove_module

LANGUAGES = ("en", "de", "ko", "sw")
ROWS = 10
NLI, TAGS = LABELS["classification"], LABELS["tagging"]

MODULES: Mapping[str, tuple[str, HeadKind, tuple[int, ...]]] = {
    "squad": ("bottleneck", "span", (0,)),
    "qa": ("bottleneck", "span", (0, 1)),
    "qa-lora": ("lora", "span", (0,)),
    "qa-all": ("bottleneck", "span", ()),
    "nli": ("bottleneck", "classification", (0,)),
    "nli-lora": ("lora", "classification", ()),
    "copa": ("bottleneck", "choice", ()),
    "copa-lora": ("lora", "choice", (0, 1)),
    "pos": ("bottleneck", "tagging", ()),
    "pos-lora": ("lora", "tagging", (0,)),
}
"""Method, head and layers left out of every module; the tiny backbone has layers 0 to 2."""


def run_of(name: str) -> str:
    """The run that a module of that name records."""
    return name.encode().hex()[:16].ljust(16, "0")


def fill_zoo(zoo: Path, backbone: str) -> None:
    """Makes the modules, and `qa-on-squad`, which was trained on top of `squad`."""
    engine = make_engine(backbone)
    for seed, (name, (method, head, left_out)) in enumerate(MODULES.items()):
        make_module(engine, name, method, head, leave_out=left_out, seed=seed)
        record = make_record(engine, name, method, head, run=run_of(name))
        save_module(engine, record, head, zoo / "tiny" / name)
        if name == "qa":
            above: dict[str, Any] = {"composition": "stack(squad, qa)", "run": "ab" * 8}
            above["bases"] = {"squad": {"run": run_of("squad"), "path": str(zoo / "tiny/squad")}}
            stacked = make_record(engine, name, method, head, **above)
            save_module(engine, stacked, head, zoo / "tiny" / "qa-on-squad")
    for name in MODULES:
        remove_module(engine, name)


def _nli(row: Row) -> Example:
    label = NLI.index(row["label"]) if row.get("label") else -1
    return {"id": "", "text_a": row["premise"], "text_b": row["hypothesis"], "label": label}


def _copa(row: Row) -> Example:
    options = [row[f"choice{number}"] for number in range(4)]
    return {"id": "", "prompt": row["premise"], "options": options, "label": row.get("label", -1)}


def _pos(row: Row) -> Example:
    return {"id": "", "words": row["words"], "tags": row.get("tags", [])}


def _qa(row: Row) -> Example:
    answers = row["answers"]
    return {
        "id": row["id"],
        "question": row["question"],
        "context": row["context"],
        "answers": answers["text"],
        "answer_starts": answers["answer_start"],
    }


def _target(
    name: str, category: Category, head: HeadKind, metric: str, form: FileFormat, **more: Any
) -> TargetSpec:
    ending = {"squad": "json"}.get(form, form)
    paths: Any = {split: (f"{split}-{{lang}}.{ending}",) for split in ("dev", "test")}
    return TargetSpec(
        name=name,
        title=name,
        category=category,
        head=head,
        metric=metric,
        suites={"xtreme": LANGUAGES[:3], "xtreme-r": LANGUAGES},
        sources=(Source(name, (FileData(form, paths),)),),
        training=(),
        licence="none",
        citation="",
        submission=name.removeprefix("tiny-"),
        **more,
    )


TARGETS = (
    _target(
        "tiny-nli",
        "classification",
        "classification",
        "accuracy",
        "tsv",
        to_example=_nli,
        # Another order than the modules' own.
        labels=tuple(sorted(NLI)),
    ),
    _target(
        "tiny-copa", "classification", "choice", "accuracy", "jsonl", to_example=_copa, choices=4
    ),
    _target("tiny-pos", "structured", "tagging", "seqeval_f1", "jsonl", to_example=_pos),
    _target("tiny-qa", "qa", "span", "squad", "squad", to_example=_qa),
)


def register() -> None:
    """Puts the small targets beside the real ones, in this process."""
    found = MappingProxyType({**registry.target_tasks(), **{task.name: task for task in TARGETS}})
    registry.target_tasks = lambda: found  # type: ignore[assignment]


def write_data(folder: Path, language: str, *, rows: int = ROWS, labels: bool = True) -> None:
    """The dev and test files of every target in a language, with or without labels in test."""
    for split in ("dev", "test"):
        given = labels or split == "dev"
        for name, content in _files(f"{language} {split}", rows, given).items():
            task, ending = name
            path = folder / task / f"{split}-{language}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


@functools.cache
def _files(seed: str, rows: int, labels: bool) -> Mapping[tuple[str, str], str]:
    chance = random.Random(seed)

    def text(least: int, most: int) -> str:
        words = ("rain", "falls", "on", "the", "old", "town", "é", "한국", "and", "sun", "1932")
        return " ".join(chance.choice(words) for _ in range(chance.randint(least, most)))

    nli, copa, pos, questions = [], [], [], []
    for number in range(rows):
        cells = [text(3, 30), text(2, 12), *([chance.choice(NLI)] if labels else [])]
        nli.append("\t".join(cells))
        options = {f"choice{place}": text(1, 5) for place in range(4)}
        label = {"label": chance.randrange(4)} if labels else {}
        copa.append(json.dumps({"premise": text(2, 12), **options, **label}))
        words = text(2, 60).split()
        tags = {"tags": [chance.choice(TAGS) for _ in words]} if labels else {}
        pos.append(json.dumps({"words": words, **tags}))
        questions.append(_question(chance, f"q{number}", text(3, 8), text(40, 120), labels))
    header = ["premise\thypothesis\tlabel" if labels else "premise\thypothesis"]
    return {
        ("tiny-nli", "tsv"): "\n".join(header + nli) + "\n",
        ("tiny-copa", "jsonl"): "\n".join(copa) + "\n",
        ("tiny-pos", "jsonl"): "\n".join(pos) + "\n",
        ("tiny-qa", "json"): json.dumps({"data": [{"paragraphs": questions}]}),
    }


def _question(
    chance: random.Random, name: str, question: str, context: str, labels: bool
) -> dict[str, Any]:
    start = chance.randrange(len(context) - 10)
    while context[start] == " ":
        start += 1
    answers = [{"text": context[start : start + 6].rstrip(), "answer_start": start}]
    asked = {"id": name, "question": question, "answers": answers if labels else []}
    return {"context": context, "qas": [asked]}


def evaluate_until(signum: str, batch_tokens: int) -> None:
    """Evaluates questions, and sends this process a signal when two languages are done."""
    from adapter_stilts.evaluation.run import evaluate

    register()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    done: list[str] = []

    def on_language(expression: str, language: str, entry: Any) -> None:
        done.append(language)
        if len(done) == 2:
            os.kill(os.getpid(), getattr(signal, signum))

    evaluate(
        "tiny-qa",
        compositions=["qa-on-squad"],
        data="data",
        precision="fp32",
        batch_tokens=batch_tokens,
        on_language=on_language,
    )


@pytest.fixture(scope="session")
def made_zoo(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Modules on the tiny XLM-R: for every head kind two or more, of different methods."""
    zoo = tmp_path_factory.mktemp("zoo")
    fill_zoo(zoo, str(tiny_xlmr))
    return zoo


@pytest.fixture
def tiny(made_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: its `data` has every small target in every language."""
    monkeypatch.setenv("ADSTILTS_ZOO", str(made_zoo))
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADSTILTS_DATA", raising=False)
    monkeypatch.setattr(registry, "target_tasks", registry.target_tasks)
    register()
    monkeypatch.chdir(tmp_path)
    for language in LANGUAGES:
        write_data(tmp_path / "data", language)
    return tmp_path


@pytest.fixture
def with_languages(
    tiny: Path, made_zoo: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder, and a zoo with modules for English and Swahili."""
    zoo = shutil.copytree(made_zoo, tiny / "zoo-of-languages")
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
    engine = make_engine(str(tiny_xlmr))
    for number, code in enumerate(("en", "sw")):
        name = f"lang-{code}"
        make_module(engine, name, "invertible", "embedding", leave_out=(0,), seed=number)
        about: dict[str, Any] = {"task": name, "run": f"{number}" * 16}
        record = make_record(engine, name, "invertible", "embedding", **about)
        record = dataclasses.replace(record, head=NO_HEAD)
        save_module(engine, record, "embedding", zoo / "tiny" / name)
    return tiny
