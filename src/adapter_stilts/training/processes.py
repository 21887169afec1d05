"""Decisions that all processes of a training have to take alike."""

from __future__ import annotations

import torch
from accelerate import PartialState


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
