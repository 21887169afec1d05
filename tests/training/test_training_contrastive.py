"""Dual encoders: the loss by hand, what counts as wrong, and that it is learnt."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_kit import SHORT, Spy  # type: ignore[import-not-found]

from adapter_stilts import load, train_target
from adapter_stilts.engine.native import HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.inference.vectors import in_batch_loss, same_rows
from adapter_stilts.training.run import Trained

Worker = Callable[..., list[int]]
Learn = Callable[..., Trained]
DIFFERENT = torch.eye(3, dtype=torch.bool)


@pytest.fixture
def learn(tiny_xlmr: Path, tmp_path: Path) -> Learn:
    """A short training of a dual encoder in this process."""
    given = {**SHORT, "backbone": str(tiny_xlmr), "out": tmp_path / "module"}
    del given["task"]
    return lambda **changes: train_target("lareqa", **{**given, **changes})


def test_loss_by_hand() -> None:
    queries = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    half = math.sqrt(0.5)
    cosines = [[1, half, 0], [0, half, 1], [half, 1, half]]
    for temperature in (1.0, 0.1):
        expected = -sum(
            row[place] / temperature - math.log(sum(math.exp(c / temperature) for c in row))
            for place, row in enumerate(cosines)
        )
        found = in_batch_loss(queries, texts, DIFFERENT, temperature=temperature)
        assert found.item() == pytest.approx(expected / 3, abs=1e-5)


def test_the_same_text_elsewhere_in_the_batch_is_not_wrong() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(3, 8, generator=generator)
    texts = torch.randn(3, 8, generator=generator)
    texts[2] = texts[0]
    same = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool()
    found = in_batch_loss(queries, texts, same)
    first = in_batch_loss(queries[:2], texts[:2], DIFFERENT[:2, :2])
    last = in_batch_loss(queries[[2, 1]], texts[[2, 1]], DIFFERENT[:2, :2])
    of_middle = torch.nn.functional.cosine_similarity(queries[1], texts) / 0.01
    middle = torch.logsumexp(of_middle, 0) - of_middle[1]
    pair = [torch.logsumexp(of_middle[[1, 0]], 0) - of_middle[1]] * 2
    total = 2 * (first + last) - pair[0] - pair[1] + middle
    assert found.item() == pytest.approx(total.item() / 3, rel=1e-4)
    assert in_batch_loss(queries, texts, DIFFERENT).item() > found.item()


def test_one_example_has_nothing_to_learn_from() -> None:
    query = torch.randn(1, 4, requires_grad=True)
    loss = in_batch_loss(query, torch.randn(1, 4), torch.ones(1, 1, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None and not query.grad.any()


def test_texts_are_the_same_where_all_tokens_are() -> None:
    ids = torch.tensor([[0, 5, 2, 1], [0, 5, 6, 2], [0, 5, 2, 1], [0, 5, 2, 2]])
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert same_rows(ids).int().tolist() == expected


@pytest.mark.parametrize(
    ("method", "limit", "epochs", "lr"), [("bottleneck", 64, 30, 2e-3), ("lora", 32, 20, 5e-3)]
)
def test_a_dual_encoder_learns_without_a_head(
    learn: Learn, spy: Spy, method: str, limit: int, epochs: int, lr: float
) -> None:
    trained = learn(
        method=method,
        limit=limit,
        epochs=epochs,
        batch_examples=16,
        reduction_factor=2,
        lr=lr,
        report_to="spy",
    )
    losses = [entry["loss"] for entry in spy.logs if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
    assert not (trained.path / HEAD_WEIGHTS).exists()
    record = trained.record
    assert (record.head, record.task, list(record.scores)) == (
        "embedding",
        "lareqa",
        ["map_at_20"],
    )
    assert not [name for name in spy.names if name.startswith("heads.")]
    module = load(trained.path, precision="fp32")
    found = module.embed(["Where does it rain?", "It rains in Bergen."])
    assert found.shape == (2, 32)
    assert (trained.path / "peft").exists() == (method == "lora")


def test_batches_hold_as_many_examples_as_asked(learn: Learn) -> None:
    """Tokens alone would let three of these pairs into a batch, to be told apart from two."""
    record = learn(limit=24, batch_examples=8, batch_tokens=512).record
    assert record.steps == 3
    assert record.recipe["batch_tokens"] == 8 * 2 * 64


def test_there_is_no_head_to_train_alone(learn: Learn) -> None:
    with pytest.raises(UserError, match="task lareqa has no head to train: choose another"):
        learn(method="head")


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_an_interrupted_run_ends_with_the_same_weights(
    learn: Learn, spy: Spy, tmp_path: Path, method: str
) -> None:
    both: dict[str, Any] = {"method": method, "epochs": 2, "unfreeze": "top-down", "evaluations": 3}
    calm = learn(**both, out=tmp_path / "calm")
    spy.stop_at(5)
    with pytest.raises(InterruptedTrainingError):
        learn(**both, report_to="spy")
    spy.on_step = None
    resumed = learn(**both, resume=True)
    one, other = (load_file(folder / WEIGHTS) for folder in (calm.path, resumed.path))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert calm.record.scores == resumed.record.scores
    assert calm.record.run == resumed.record.run


def test_a_killed_run_ends_with_the_same_weights(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    both = {**settings, "task": "lareqa", "epochs": 2}
    calm, killed = ({**both, "out": str(tmp_path / name / "m")} for name in ("calm", "killed"))
    for each in (calm, killed):
        Path(each["out"]).parent.mkdir()
    assert worker(calm, trains="target") == [0]
    for event in (3, 6, 9):
        codes = worker(
            {**killed, "resume": True}, stop={"event": event}, save_seconds=0.0, trains="target"
        )
        assert codes in ([-signal.SIGKILL], [0])
    assert worker({**killed, "resume": True}, trains="target") == [0]
    weights = [(Path(each["out"]) / WEIGHTS).read_bytes() for each in (calm, killed)]
    assert weights[0] == weights[1]


def test_two_processes_learn_what_one_does(
    worker: Worker, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Each tells its queries apart from its own batch's texts."""
    both = {**settings, "task": "lareqa", "limit": 32}
    one, two = tmp_path / "one" / "m", tmp_path / "two" / "m"
    for out in (one, two):
        out.parent.mkdir()
    options: dict[str, Any] = {"weights": True, "trains": "target"}
    assert worker({**both, "accumulate": 2, "out": str(one)}, **options) == [0]
    assert worker({**both, "out": str(two)}, ranks=2, **options) == [0, 0]
    alone = load_file(one.with_name("weights-0.safetensors"))
    for rank in (0, 1):
        found = load_file(two.with_name(f"weights-{rank}.safetensors"))
        assert found.keys() == alone.keys()
        for name, weight in alone.items():
            torch.testing.assert_close(found[name], weight, rtol=0, atol=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_the_embedded_backbone_gets_better(
    learn: Learn, spy: Spy, embedded: str, method: str
) -> None:
    trained = learn(
        method=method,
        backbone=embedded,
        limit=96,
        dev_limit=48,
        epochs=4,
        max_length=96,
        batch_examples=16,
        evaluations=4,
        report_to="spy",
    )
    scores = [entry["eval_map_at_20"] for entry in spy.logs if "eval_map_at_20" in entry]
    losses = [entry["loss"] for entry in spy.logs if "loss" in entry]
    assert losses[-1] < losses[0]
    assert trained.record.scores["map_at_20"] == max(scores) > scores[0]
