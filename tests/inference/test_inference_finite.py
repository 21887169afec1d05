"""What is no number is an error, wherever an answer, a score or a vector would be made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts.engine.engine import Engine, forward, module_parameters
from adapter_stilts.errors import FailureError, NotFiniteError, UserError
from adapter_stilts.inference.predictions import Scorer
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.training.merge_modules import mean_loss
from adapter_stilts.zoo.local import load_composition, load_resolved
from adapter_stilts.zoo.module import Module
from adapter_stilts.zoo.resolve import resolve_folder
from made_modules import make_engine, save_made, token_batch
from together_kit import predict_together

TEXTS: dict[str, dict[str, Any]] = {
    "classification": {"text_a": "one", "text_b": "two"},
    "choice": {"prompt": "one", "options": ["a", "b", "c", "d"]},
    "span": {"question": "who?", "context": "somebody"},
    "tagging": {"words": ["a", "b"]},
    "embedding": {"text": "one"},
}


@pytest.fixture(params=list(TEXTS))
def broken(request: pytest.FixtureRequest, tiny_xlmr: Path, tmp_path: Path) -> Module:
    """A module whose weights are all finite and large, and whose outputs are not."""
    engine: Engine = make_engine(str(tiny_xlmr))
    save_made(engine, "m", "bottleneck", request.param, tmp_path / "zoo" / "tiny" / "m")
    resolved = resolve_folder(tmp_path / "zoo" / "tiny" / "m")
    composed = load_resolved(engine, resolved)
    with torch.no_grad():
        for parameter in module_parameters(engine, composed.name).values():
            parameter.fill_(1e38)
    return Module(engine, resolved.record, composed.name, composed)


def test_no_answer_of_what_is_no_number(broken: Module) -> None:
    row = TEXTS[broken.record.head]
    with pytest.raises(NotFiniteError) as caught:
        broken.predict_rows([row])
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFiniteError):
        predict_together([(broken, row), (broken, row)])
    with pytest.raises(NotFiniteError):
        broken.embed(["a text"])
    batch = token_batch(broken.engine, broken.record.head)
    if broken.record.head != "choice":
        with pytest.raises(NotFiniteError):
            forward(broken.engine, batch)


def test_vectors_beyond_half_precision(tiny_xlmr: Path, tmp_path: Path) -> None:
    """They are kept in float16: of those that are not normalised, some have no place there."""
    engine: Engine = make_engine(str(tiny_xlmr))
    save_made(engine, "m", "bottleneck", "embedding", tmp_path / "m")
    resolved = resolve_folder(tmp_path / "m")
    composed = load_resolved(engine, resolved)
    module = Module(engine, resolved.record, composed.name, composed)
    last = engine.model.base_model.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        last.weight.fill_(1e6)
    assert abs(float((module.embed(["text"]).astype(float) ** 2).sum()) - 1) < 1e-2
    with pytest.raises(NotFiniteError):
        module.embed(["text"], normalise=False)
    with torch.no_grad():  # numbers still, but their squares are none, so that zeros would come
        last.weight.fill_(1e25)
    with pytest.raises(NotFiniteError):
        module.embed(["text"])
    with pytest.raises(NotFiniteError) as caught:
        predict_together([(module, {"text": "text"})])
    assert caught.value.module == module.name


def test_no_score_of_what_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(get_task("mnli"))
    monkeypatch.setattr(scorer._metric, "compute", lambda **options: {"accuracy": math.nan})
    with pytest.raises(NotFiniteError, match="mnli"):
        scorer.scores()


def test_a_search_passes_over_weights_without_a_loss(broken: Module) -> None:
    if broken.record.head not in ("classification", "tagging"):
        pytest.skip("one kind of loss is enough")
    batch = token_batch(broken.engine, broken.record.head)
    shape = batch["input_ids"].shape[: 1 if broken.record.head == "classification" else 2]
    labels = torch.zeros(shape, dtype=torch.long)
    assert mean_loss(broken.engine, [{**batch, "labels": labels}]) == math.inf


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_merges_beyond_all_use(tiny_xlmr: Path, zoo: Path, method: str) -> None:
    engine: Engine = make_engine(str(tiny_xlmr))
    for name in ("a", "b"):
        save_made(engine, name, method, "span", zoo / "tiny" / name, run=name * 16)
    load_composition(engine, "linear(1*a, 3*b)")
    with pytest.raises(UserError, match="weights"):
        load_composition(engine, "task-arithmetic(1e300*a, 1e300*b)")


def test_a_training_whose_scores_are_no_numbers(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapter_stilts.training.job import Job
    from adapter_stilts.training.run import train_adapter

    found: Callable[[Job], dict[str, float]] = lambda self: {"accuracy": math.nan}  # noqa: E731
    monkeypatch.setattr(Job, "dev_scores", found)
    with pytest.raises(FailureError, match=r"diverged.*--lr.*--overwrite"):
        train_adapter(
            "mnli",
            data="sample",
            backbone=str(tiny_xlmr),
            limit=8,
            dev_limit=4,
            epochs=1,
            max_length=32,
            evaluations=1,
            precision="fp32",
            out=tmp_path / "out",
            quiet=True,
        )
    assert not (tmp_path / "out").exists()
