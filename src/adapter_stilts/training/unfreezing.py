"""Top-down gradual unfreezing: the modules of lower layers start to learn later."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adapter_stilts.engine.engine import Engine, layer_of, module_parameters


def lowest_trained_layer(step: int, *, layers: int, unfreeze_steps: int) -> int:
    """The lowest layer whose module learns at `step` (0-based); layers are freed at an even pace.

    At step 0 only the top layer's module learns; from `unfreeze_steps` on all do (Liu et al.
    2023, "FUN with Fisher", section 3). Below that layer no gradient is computed, which makes
    the early steps cheaper as well.
    """
    if step >= unfreeze_steps:
        return 0
    freed = 1 + step * layers // unfreeze_steps
    return max(0, layers - freed)


class GradualUnfreezing(TrainerCallback):
    """Turns gradients of the modules' layers on from the top layer down.

    The state follows from the step number alone, so a resumed run needs nothing saved.
    """

    def __init__(self, engine: Engine, name: str, unfreeze_steps: int) -> None:
        self._layers = engine.layers
        self._steps = unfreeze_steps
        self._by_layer = [
            (layer, parameter)
            for key, parameter in module_parameters(engine, name).items()
            if (layer := layer_of(key)) is not None
        ]

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Sets which parameters take part in the coming step."""
        lowest = lowest_trained_layer(
            state.global_step, layers=self._layers, unfreeze_steps=self._steps
        )
        for layer, parameter in self._by_layer:
            parameter.requires_grad_(layer >= lowest)
