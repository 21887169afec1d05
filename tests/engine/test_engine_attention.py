"""Our attention against torch's own: values, gradients, and what it leaves to torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from adapter_stilts.engine import attention
from adapter_stilts.engine.attention import LONGEST, LONGEST_FORWARD, ROW_BY_ROW, FastAttention

BATCH, HEADS, LENGTH, WIDTH = 3, 2, 9, 4
KEPT = torch.tensor([9, 5, 1])
PADDING = (torch.arange(LENGTH) < KEPT[:, None])[:, None, None]  # (B, 1, 1, L), True: attend
LOWEST = torch.finfo(torch.float32).min


def tensors(length: int = LENGTH, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, HEADS, length, WIDTH)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def added(mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros(mask.shape).masked_fill(~mask, LOWEST)


MASKS = {
    "none": None,
    "bool": PADDING,
    "bool, a row a query": PADDING.expand(BATCH, 1, LENGTH, LENGTH),
    "added": added(PADDING),
    "added, a row a query": added(PADDING).expand(BATCH, 1, LENGTH, LENGTH),
    "minus infinity": torch.zeros(PADDING.shape).masked_fill(~PADDING, -torch.inf),
    "one for the whole batch, bool": PADDING[1:2],
    "one for the whole batch, added": added(PADDING[1:2]),
}


torch_attention: Any = functional.scaled_dot_product_attention


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each time that our attention is used."""
    calls: list[int] = []
    ours = attention.matrix_attention

    def counted(*args: Any) -> torch.Tensor:
        calls.append(1)
        return ours(*args)

    monkeypatch.setattr(attention, "matrix_attention", counted)
    return calls


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each batch that is computed row by row."""
    calls: list[int] = []
    ours = attention._row_by_row

    def counted(*args: Any) -> torch.Tensor:
        calls.append(1)
        return ours(*args)

    monkeypatch.setattr(attention, "_row_by_row", counted)
    return calls


def both(length: int = LENGTH, **options: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output and gradients of query, key and value, by torch and within the context."""
    results = []
    upstream = torch.randn(BATCH, HEADS, length, WIDTH, generator=torch.Generator().manual_seed(1))
    for mode in (None, FastAttention()):
        parts = tensors(length)
        if mode is None:
            output = torch_attention(*parts, **options)
        else:
            with mode:
                output = torch_attention(*parts, **options)
        output.backward(upstream)
        results.append([output.detach(), *(part.grad for part in parts if part.grad is not None)])
    assert len(results[0]) == len(results[1]) == 4
    return results[0], results[1]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_equals_torch_with_padding(mask: torch.Tensor | None, used: list[int]) -> None:
    expected, found = both(attn_mask=mask)
    assert used
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, atol=1e-6, rtol=1e-5)


def test_hidden_keys_change_nothing(used: list[int]) -> None:
    query, key, value = tensors()
    with FastAttention():
        whole = functional.scaled_dot_product_attention(query, key, value, attn_mask=PADDING)
        cut = functional.scaled_dot_product_attention(
            query[1:2],
            key[1:2, :, :5].repeat(1, 1, 2, 1)[:, :, :9],
            value[1:2],
            attn_mask=PADDING[1:2],
        )
    assert len(used) == 2
    torch.testing.assert_close(whole[1:2], cut)


def test_positional_mask_is_seen(used: list[int]) -> None:
    query, key, value = tensors()
    expected = functional.scaled_dot_product_attention(query, key, value, PADDING)
    with FastAttention():
        found = functional.scaled_dot_product_attention(query, key, value, PADDING)
        named = functional.scaled_dot_product_attention(
            query=query, key=key, value=value, attn_mask=PADDING
        )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(named, expected)


LOWER = torch.ones(LENGTH, LENGTH).tril().bool()[None, None]
PER_HEAD = (
    torch.rand(1, HEADS, 1, LENGTH, generator=torch.Generator().manual_seed(3)) > 0.3
).index_fill(3, torch.tensor([0]), True)


@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"attn_mask": LOWER},
        {"attn_mask": added(LOWER)},
        {"attn_mask": LOWER[0, 0]},
        {"attn_mask": PER_HEAD},
        {"scale": 0.3},
        {"attn_mask": PADDING, "scale": 0.3},
    ],
    ids=["causal", "lower bool", "lower added", "two axes", "per head", "scale", "masked scale"],
)
def test_all_else_is_left_to_torch(options: dict[str, Any], used: list[int]) -> None:
    expected, found = both(**options)
    assert not used
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a)


def test_dropout_is_left_to_torch(used: list[int]) -> None:
    with FastAttention():
        torch_attention(*tensors(), dropout_p=0.5)
    assert not used


@pytest.mark.parametrize(("length", "ours"), [(LONGEST, True), (LONGEST + 1, False)])
def test_long_sequences_are_left_to_torch(length: int, ours: bool, used: list[int]) -> None:
    expected, found = both(length)
    assert bool(used) == ours
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "by_row", "ours"),
    [
        (ROW_BY_ROW - 1, False, True),
        (ROW_BY_ROW, True, True),
        (LONGEST_FORWARD, True, True),
        (LONGEST_FORWARD + 1, False, False),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_row_by_row_without_gradients(
    *, length: int, by_row: bool, ours: bool, masked: bool, used: list[int], rows: list[int]
) -> None:
    mask = (torch.arange(length) < torch.tensor([length, 70, 1])[:, None])[:, None, None]
    query, key, value = (part.detach() for part in tensors(length))
    options = {"attn_mask": mask.expand(BATCH, 1, length, length)} if masked else {}
    expected = torch_attention(query, key, value, **options)
    with torch.no_grad(), FastAttention():
        found = torch_attention(query, key, value, **options)
    assert (bool(used), bool(rows)) == (ours, by_row)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_rows_are_not_taken_apart_where_gradients_are_wanted(rows: list[int]) -> None:
    both(ROW_BY_ROW)
    assert not rows


def test_queries_shorter_than_keys_are_left_to_torch(used: list[int]) -> None:
    query, key, value = tensors()
    expected = functional.scaled_dot_product_attention(query[:, :, :2], key, value)
    with FastAttention():
        found = functional.scaled_dot_product_attention(query[:, :, :2], key, value)
    assert not used
    torch.testing.assert_close(found, expected)


def test_a_new_mask_is_examined(used: list[int]) -> None:
    """One context sees masks of both kinds, one after the other."""
    query, key, value = tensors()
    with FastAttention():
        for mask in (PADDING, LOWER, PADDING, None):
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            with torch._C.DisableTorchFunction():
                expected = functional.scaled_dot_product_attention(
                    query, key, value, attn_mask=mask
                )
            torch.testing.assert_close(found, expected)
    assert len(used) == 3


def test_bfloat16_with_a_float32_sized_mask(used: list[int]) -> None:
    query, key, value = tensors(dtype=torch.bfloat16)
    mask = added(PADDING).to(torch.bfloat16)  # rounds to minus infinity
    assert torch.isinf(mask).any()
    expected = functional.scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=PADDING
    )
    with FastAttention():
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert used
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)


def test_weights_computed_again_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for again in (0, LENGTH):
        monkeypatch.setattr(attention, "AGAIN", again)
        sizes: list[int] = []
        own = tensors()

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FastAttention():
            out = torch_attention(*own, attn_mask=PADDING)
        out.square().sum().backward()
        found.append((out, [each.grad for each in own], sum(sizes)))
    (kept, gradients, room), (out, others, less) = found
    assert torch.equal(out, kept)
    for gradient, other in zip(gradients, others, strict=True):
        assert gradient is not None and other is not None and torch.equal(gradient, other)
    assert room - less >= BATCH * HEADS * LENGTH * (LENGTH - 1)
