"""Every target with labels, on its bundled samples, with modules whose weights are random."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch

from adapter_stilts.data.parts import samples_folder
from adapter_stilts.engine.engine import Engine, add_module, module_parameters
from adapter_stilts.engine.methods import MethodOptions, get_method
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.zoo.local import save_module
from made_modules import make_engine, make_record, remove_module

TAGS = {"panx": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), "udpos": ("NOUN", "VERB", "PUNCT")}
TARGETS = [name for name, target in target_tasks().items() if target.retrieval is None]


def add(engine: Engine, target: TargetSpec, method: str, labels: Sequence[str]) -> None:
    options = MethodOptions(leave_out=(0,))
    add_module(
        engine,
        method,
        get_method(method),
        options,
        head=target.head,
        labels=labels,
        choices=target.choices,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module_parameters(engine, method).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("split", ["test", "dev"])
def test_samples(
    tiny_xlmr: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    split: Literal["test", "dev"],
) -> None:
    target = target_tasks()[task]
    if not any(source.has(split) for source in target.sources):
        pytest.skip(f"{task} has no {split} set")
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    engine = make_engine(str(tiny_xlmr))
    folders = []
    labels = TAGS.get(task, target.labels)
    learnt = {"task": target.training[-1].name} if target.training else {}
    for method in ("bottleneck", "lora"):
        add(engine, target, method, labels)
        record = make_record(engine, method, method, target.head, run=method[:4] * 4, **learnt)
        record = dataclasses.replace(record, data={**record.data, "labels": len(labels)})
        folders.append(tmp_path / method)
        save_module(engine, record, target.head, folders[-1])
        remove_module(engine, method)
    found = evaluate(
        task,
        compositions=[str(folder) for folder in folders],
        split=split,
        data="sample",
        out=tmp_path / "out",
        precision="fp32",
    )
    for evaluation in found:
        assert len(evaluation.languages) >= 2
        assert set(evaluation.languages) | set(evaluation.missing) == set(target.languages)
        assert evaluation.partial == bool(evaluation.missing)
        assert evaluation.scores
        for scores in evaluation.scores.values():
            assert next(iter(scores)) == evaluation.metric
            assert all(0 <= value <= 100 for value in scores.values())
        for language, entry in evaluation.languages.items():
            predicted = (evaluation.folder / entry["file"]).read_text("utf-8")
            assert predicted.strip()
            # what is written otherwise than before is not taken for done
            assert entry["settings"].get("labels", []) == list(target.submitted)
            if target.head in ("classification", "tagging"):
                check_lines(target, split, language, predicted, evaluation.scores[language])


def check_lines(
    target: TargetSpec, split: str, language: str, predicted: str, scores: Mapping[str, float]
) -> None:
    """XTREME compares texts, line by line; its label files are the last column of the samples."""
    sample = (samples_folder() / target.name / f"{split}-{language}.tsv").read_text("utf-8")
    gold = [line.split("\t")[-1] for line in sample.rstrip("\n").split("\n")]
    lines = predicted.rstrip("\n").split("\n")
    assert [bool(line) for line in lines] == [bool(label) for label in gold]
    right = sum(bool(label) and line == label for line, label in zip(lines, gold, strict=True))
    accuracy = scores["accuracy" if target.head == "classification" else "tag_accuracy"]
    assert accuracy == pytest.approx(100 * right / sum(map(bool, gold)))
