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
    """Turns full disks and full memory into one line that names the remedy."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(recipe) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(recipe) from error
        if _is_full(error):
            raise _disk_full(folder) from error
        raise
    except (OSError, SafetensorError) as error:
        if _is_full(error):
            raise _disk_full(folder) from error
        raise


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


def _is_full(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error)


def _disk_full(folder: Path) -> FailureError:
    return FailureError(
        f"disk full while writing near {folder}: free some space, then run again with --resume"
    )


def _out_of_memory(recipe: Recipe) -> FailureError:
    return FailureError(
        f"out of memory: lower --batch-tokens (now {recipe.batch_tokens}) or --max-length (now "
        f"{recipe.max_length}), for a dual encoder --batch-examples (now "
        f"{recipe.batch_examples}); a checkpoint, if one was written, continues with --resume"
    )
