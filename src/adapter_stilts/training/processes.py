"""Decisions that all processes of a training have to take alike, or one of them alone."""

from __future__ import annotations

import torch
from accelerate import PartialState

from adapter_stilts.backbones import default_device


def this_process() -> PartialState:
    """Which of a training's processes this is.

    Without being told, `accelerate` takes every process on a CPU for the only one, until
    transformers begins to train.
    """
    return PartialState(cpu=default_device().type == "cpu")


def any_process(wish: bool) -> bool:
    """Whether any process of this training wishes so; every process has to ask.

    A clock or a signal tells processes different things at the same step. If one of them wrote a
    checkpoint alone, it would wait for the others for ever.
    """
    state = PartialState()
    if state.num_processes == 1:
        return wish
    flag = torch.tensor(int(wish), device=state.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag)
