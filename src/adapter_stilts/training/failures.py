"""What ends a training early, in one line that names the remedy."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from adapter_stilts.errors import FailureError
from adapter_stilts.training.folders import latest_checkpoint
from adapter_stilts.training.recipe import Recipe


class InterruptedTrainingError(Exception):
    """Ctrl-C: the work so far is saved; the message says how to go on."""

    exit_code = 130


@contextlib.contextmanager
def clear_failures(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Turns full disks and full memory into a `FailureError`: one line that names the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, SafetensorError) as error:
        if _is_out_of_memory(error):
            raise FailureError(
                f"out of memory: lower --batch-tokens (now {recipe.batch_tokens}) or --max-length "
                f"(now {recipe.max_length}), for a dual encoder --batch-examples (now "
                f"{recipe.batch_examples}); a checkpoint, if one was written, continues with "
                "--resume"
            ) from error
        if _is_full(error):
            raise FailureError(
                f"disk full while writing near {folder}: free some space, then run again with "
                "--resume"
            ) from error
        raise


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    said = isinstance(error, RuntimeError) and any(
        text in str(error) for text in ("can't allocate memory", "not enough memory")
    )
    return said or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _is_full(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error)


def stop_if_diverged(step: int, loss: float, gradient: float, *, lr: float, work: Path) -> None:
    """Ends a training (FailureError) whose loss or gradients' norm is no finite number."""
    if math.isfinite(loss) and math.isfinite(gradient):
        return
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {gradient}"
    last = latest_checkpoint(work)
    kept = f"; the last good checkpoint is kept in {last}" if last else ""
    raise FailureError(
        f"the training diverged at step {step} ({what}): lower --lr (now {lr:g}) and begin anew "
        f"with --overwrite{kept}"
    )
