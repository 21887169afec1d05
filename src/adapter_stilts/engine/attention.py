"""What a trunk keeps for the backward pass on a CPU: attention weights, outputs of layer norms.

For short sequences torch's own attention is slow backwards. Its flash attention for CPUs works in
blocks that do not fill up on short sequences: its backward pass takes most of a training step on
sentence pairs. Whole-matrix products are several times faster there, at the price of keeping the
attention weights (B x H x L x L) for the backward pass, or of computing them again where that is
cheap. `benchmarks/train_speed.py` shows what it brings.

A bottleneck adapter's first weights need what went into them for their gradient. That is the output
of a layer norm, whose own input is kept in any case: so the output is computed again. Where that is
not enough, whole layers can be.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from adapters.context import ForwardContext
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

LONGEST = 320
"""Above this length the blocks of torch's kernel are full, and it needs less memory."""

LONGEST_FORWARD = 400
"""The same where no gradients are wanted and nothing is kept for them."""

AGAIN = 1 / 4
"""Tokens over the model's width up to which the backward pass computes the weights again: 1 % of a
step of XLM-R Large at 128 tokens, where they are a sixth of what would be kept for it."""

ROW_BY_ROW = 96
"""From this length on, and without gradients, one row of the batch at a time is faster: its
attention weights (H x L x L) stay in the processor's cache."""


class _MatrixAttention(torch.autograd.Function):
    """softmax(scale * q k' + bias) v for q, k, v of shape (B*H, L, D) and bias (B*H, 1, L)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor,
        scale: float,
        again: bool,
    ) -> torch.Tensor:
        """(B*H, L, D); with `again`, no weights are kept: the way back computes them again."""
        weights = _weights(query, key, bias, scale)
        ctx.save_for_backward(query, key, value, bias if again else weights)
        ctx.scale, ctx.again = scale, again
        return torch.bmm(weights, value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of q, k and v, (B*H, L, D) each; the rest has none."""
        query, key, value, weights = ctx.saved_tensors
        (upstream,) = gradients
        if ctx.again:
            weights = _weights(query, key, weights, ctx.scale)
        of_value = torch.bmm(weights.transpose(1, 2), upstream)
        of_weights = torch.bmm(upstream, value.transpose(1, 2))
        of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.bmm(of_scores, key).mul_(ctx.scale)
        of_key = torch.bmm(of_scores.transpose(1, 2), query).mul_(ctx.scale)
        return of_query, of_key, of_value, None, None, None


def _weights(
    query: torch.Tensor, key: torch.Tensor, bias: torch.Tensor, scale: float
) -> torch.Tensor:
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    return torch.softmax(scores, -1)


def matrix_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Scaled dot-product attention by whole-matrix products.

    Args:
        query, key, value: (B, H, L, D).
        mask: (B, 1, 1 or L, L) with equal rows: bool (True: attend) or added to the scores.

    Returns:
        (B, H, L, D)
    """
    batch, heads, length, width = query.shape
    with torch.autocast("cpu", enabled=False):
        bias = query.new_zeros(batch, 1, length)
        if mask is not None and mask.dtype == torch.bool:
            bias.masked_fill_(~mask[:, 0, :1], torch.finfo(query.dtype).min)
        elif mask is not None:
            # torch's masks hold the smallest number of float32, infinite in bfloat16
            bias = mask[:, 0, :1].clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
            bias = bias.expand(batch, 1, length)
        if length >= ROW_BY_ROW and not torch.is_grad_enabled():
            return _row_by_row(query, key, value, bias)
        flat = (part.reshape(batch * heads, length, width) for part in (query, key, value))
        attended: torch.Tensor = _MatrixAttention.apply(  # type: ignore[no-untyped-call]
            *flat, bias.repeat_interleave(heads, 0), width**-0.5, length <= AGAIN * heads * width
        )
    return attended.view(batch, heads, length, width)


def _row_by_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The same for q, k, v of shape (B, H, L, D) and bias (B, 1, L), without gradients."""
    batch, heads, length, width = query.shape
    # in the order of memory in which the model goes on
    attended = query.new_empty(batch, length, heads, width).transpose(1, 2)
    for row in range(batch):
        q, k, v = (part[row].contiguous() for part in (query, key, value))
        scores = torch.baddbmm(bias[row], q, k.transpose(1, 2), alpha=width**-0.5)
        torch.bmm(torch.softmax(scores, -1), v, out=attended[row])
    return attended


class FastAttention(TorchFunctionMode):
    """Inside this context short attention on the CPU goes through `matrix_attention`.

    Everything else, including masks that differ from row to row, goes to torch as before; layer
    norms and linear layers by way of `LayerNorms`, which keeps less for the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        # All layers get the same mask: it is examined once.
        self._mask: torch.Tensor | None = None
        self._is_padding = True
        self._norms = LayerNorms()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called in place of every torch function."""
        kwargs = kwargs or {}
        short = func is functional.scaled_dot_product_attention and _suiting(*args, **kwargs)
        if short:
            mask = short[-1]
            if mask is not self._mask:
                self._mask, self._is_padding = mask, _has_equal_rows(mask)
            if self._is_padding:
                return matrix_attention(*short)
        elif func is functional.layer_norm:
            return self._norms.norm(func, args, kwargs)
        elif func is functional.linear:
            return self._norms.linear(func, args, kwargs)
        return func(*args, **kwargs)


def fast_attention(device: torch.device) -> AbstractContextManager[Any]:
    """`FastAttention` where it changes anything: to look at every function takes time, too."""
    return FastAttention() if device.type == "cpu" else nullcontext()


def _has_equal_rows(mask: torch.Tensor | None) -> bool:
    """Whether every query may attend to the same keys, as with padding."""
    return mask is None or (
        mask.ndim == 4 and mask.shape[1] == 1 and bool((mask == mask[:, :, :1]).all())
    )


def _suiting(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None] | None:
    """What `matrix_attention` takes; None where torch's own kernel is meant, or better."""
    if (
        not (dropout_p or is_causal or enable_gqa)
        and scale is None
        and query.device.type == "cpu"
        and query.ndim == 4
        and query.shape == key.shape == value.shape
        and query.dtype == key.dtype == value.dtype
        and query.shape[2] <= (LONGEST if torch.is_grad_enabled() else LONGEST_FORWARD)
    ):
        return query, key, value, attn_mask
    return None


Function = Callable[..., Any]


_KEEPS = ContextVar("keeps outputs of layer norms", default=False)


@contextmanager
def keeping_outputs() -> Iterator[None]:
    """Inside it `LayerNorms` changes nothing.

    Where a whole layer is computed again, what it keeps is counted, both times.
    """
    before = _KEEPS.set(True)
    try:
        yield
    finally:
        _KEEPS.reset(before)


@dataclass(frozen=True)
class _Norm:
    """How the output of a layer norm is computed again, to the bit."""

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    autocast: bool

    def compute(self) -> Tensor:
        """The norm's output once more, in its shape, without a gradient."""
        with torch.no_grad(), torch.autocast("cpu", enabled=self.autocast):
            output: Tensor = self.function(*self.args, **self.kwargs)
        return output


class LayerNorms:
    """Calls layer norms, and linear layers with weights that learn, which may follow them."""

    def __init__(self) -> None:
        self._norm: _Norm | None = None
        self._output: weakref.ref[Tensor] | None = None

    def norm(self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """A layer norm; its output is remembered while others use it."""
        norm = _Norm(function, args, kwargs, torch.is_autocast_enabled("cpu"))
        output: Tensor = function(*args, **kwargs)
        # Where nothing below learns, the input is not kept either.
        self._norm = norm if output.requires_grad else None
        self._output = weakref.ref(output)
        return output

    def linear(
        self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        """A linear layer; it keeps no input that is the output of the last layer norm."""
        output = self._output() if self._output and self._norm and not _KEEPS.get() else None
        if output is None or len(args) < 2 or args[0] is not output or not args[1].requires_grad:
            return cast(Tensor, function(*args, **kwargs))
        norm = self._norm
        assert norm is not None
        place, dtype, size = output.untyped_storage().data_ptr(), output.dtype, output.numel()

        def keep(tensor: Tensor) -> Tensor | tuple[_Norm, torch.Size]:
            same = (tensor.untyped_storage().data_ptr(), tensor.dtype, tensor.numel())
            return (norm, tensor.shape) if same == (place, dtype, size) else tensor

        with saved_tensors_hooks(keep, _restore):
            return cast(Tensor, function(*args, **kwargs))


def _restore(kept: Tensor | tuple[_Norm, torch.Size]) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    norm, shape = kept
    return norm.compute().view(shape)


def recompute_activations(model: Any) -> None:
    """Keeps only what goes into each layer of a model (Chen et al. 2016, arXiv:1604.06174).

    Gradients stay the same to the bit. In float32 a layer of XLM-R Large keeps a tenth, and a
    step takes a third to a half as long again.
    """
    # The method of `adapters` takes no contexts but its own.
    options = {"use_reentrant": False, "context_fn": _contexts}
    PreTrainedModel.gradient_checkpointing_enable(model, options)


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of a layer, and of the same computed again: what is active around it now is so again."""
    return keeping_outputs(), _as_before(ForwardContext.get_context())


@contextmanager
def _as_before(outer: AbstractContextManager[Any]) -> Iterator[None]:
    with outer, FastAttention(), keeping_outputs():
        yield
