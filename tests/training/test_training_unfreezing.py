"""Top-down gradual unfreezing: which layers learn at which step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from training_kit import Spy, Train, Weights  # type: ignore[import-not-found]

from adapter_stilts.errors import InterruptedTrainingError
from adapter_stilts.training.callbacks import lowest_trained_layer

TOP_DOWN = {"unfreeze": "top-down", "unfreeze_fraction": 1.0, "warmup": 0.0}


@pytest.mark.parametrize(("layers", "steps"), [(12, 120), (12, 30), (3, 7), (24, 10), (4, 4)])
def test_layers_are_freed_from_the_top_at_an_even_pace(layers: int, steps: int) -> None:
    lowest = [
        lowest_trained_layer(step, layers=layers, unfreeze_steps=steps) for step in range(steps + 3)
    ]
    assert lowest[0] == layers - 1
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[steps:] == [0, 0, 0]
    held = [lowest[:steps].count(layer) for layer in range(layers)]
    if steps >= layers:
        assert min(held) >= 1
        assert max(held) - min(held) <= 1
    else:  # several layers a step
        assert max(held) == 1


def test_without_steps_all_layers_learn_at_once() -> None:
    assert lowest_trained_layer(0, layers=12, unfreeze_steps=0) == 0


def changed(before: Weights, after: Weights) -> set[int]:
    """The layers with a parameter that is not bit for bit as before; -1 is the head."""
    return {
        int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else -1
        for name, value in after.items()
        if not torch.equal(before[name], value)
    }


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_layers_stay_as_they_were_until_their_step(train: Train, spy: Spy, method: str) -> None:
    train(**TOP_DOWN, method=method, report_to="spy")
    learnt = [changed(before, after) for before, after in pairwise(spy.layers)]
    assert learnt == [{-1, 2}] * 2 + [{-1, 1, 2}] * 2 + [{-1, 0, 1, 2}] * 2


def test_without_unfreezing_all_layers_learn_from_the_start(train: Train, spy: Spy) -> None:
    train(warmup=0.0, report_to="spy")
    assert changed(spy.layers[0], spy.layers[1]) == {-1, 0, 1, 2}


def test_a_resumed_run_goes_on_with_the_layers_of_its_step(
    train: Train, spy: Spy, weights: Callable[[Path], Any], tmp_path: Path
) -> None:
    calm = train(**TOP_DOWN, out=tmp_path / "calm")

    spy.stop_at(3)
    with pytest.raises(InterruptedTrainingError):
        train(**TOP_DOWN, report_to="spy")
    spy.on_step = None
    spy.layers.clear()
    resumed = train(**TOP_DOWN, report_to="spy", resume=True)
    learnt = [changed(before, after) for before, after in pairwise(spy.layers)]
    assert learnt == [{-1, 1, 2}] + [{-1, 0, 1, 2}] * 2
    expected = weights(calm.path)
    for name, value in weights(resumed.path).items():
        assert torch.equal(value, expected[name])
