"""Merging tensors and LoRAs, against values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from adapter_stilts.merging.blend import (
    FactorBlend,
    Factors,
    blend,
    blend_factors,
    blend_products,
)

A = torch.tensor([[4.0, -1.0], [0.5, -3.0]])
B = torch.tensor([[-1.0, -2.0], [3.0, -0.5]])


def _merge(how: str, weights: Sequence[float], **options: float | str) -> Tensor:
    return blend(how, [A, B], **options)(torch.tensor(weights))  # type: ignore[arg-type]


def test_sums() -> None:
    expected = torch.tensor([[2.75, -1.25], [1.125, -2.375]])
    for how in ("average", "linear", "task-arithmetic"):
        assert torch.allclose(_merge(how, [0.75, 0.25]), expected)


def test_ties_trims_elects_and_averages_those_that_agree() -> None:
    # Half of each: A keeps 4 and -3, B keeps -2 and 3. Signs by the sum: +, -, +, -.
    assert torch.equal(
        _merge("ties", [1, 1], density=0.5), torch.tensor([[4.0, -2.0], [3.0, -3.0]])
    )
    # All: sums 3, -3, 3.5, -3.5. Of the first, only A is positive; of the second, both negative.
    assert torch.equal(
        _merge("ties", [1, 1], density=1.0), torch.tensor([[4.0, -1.5], [1.75, -1.75]])
    )
    # Weights come in after the election.
    assert torch.equal(
        _merge("ties", [0.5, -2.0], density=1.0),
        torch.tensor([[2.0, (-0.5 + 4) / 2], [(0.25 - 6) / 2, (-1.5 + 1) / 2]]),
    )


def test_dare_ties_drops_at_random_and_rescales() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    ones = [torch.ones(50, 80), torch.ones(50, 80)]
    one = blend("dare-ties", ones, density=0.25, seed=1, key="k")
    merged = one(torch.ones(2))
    # A quarter is kept, worth 4 then; TIES takes the mean of what is left.
    assert set(merged.unique().tolist()) == {0.0, 4.0}
    assert abs(float((merged > 0).float().mean()) - (1 - 0.75**2)) < 0.03
    assert torch.equal(before, torch.get_rng_state())
    same = blend("dare-ties", ones, density=0.25, seed=1, key="k")
    assert torch.equal(merged, same(torch.ones(2)))
    for seed, key in ((2, "k"), (1, "other")):
        other = blend("dare-ties", ones, density=0.25, seed=seed, key=key)
        assert not torch.equal(merged, other(torch.ones(2)))


def test_slerp_goes_along_the_arc() -> None:
    tensors = [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])]
    middle = blend("slerp", tensors)(torch.tensor([0.5, 0.5]))
    assert torch.allclose(middle, torch.full((2,), 3 / math.sqrt(2)))
    third = blend("slerp", tensors)(torch.tensor([2.0, 1.0]))
    length = 2 + 2 / 3
    assert torch.allclose(
        third, length * torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)])
    )
    assert torch.allclose(blend("slerp", tensors)(torch.tensor([1.0, 0.0])), tensors[0])
    parallel = blend("slerp", [A, 3 * A])(torch.tensor([0.5, 0.5]))
    assert torch.allclose(parallel, 2 * A)
    nothing = blend("slerp", [A, 0 * A])(torch.tensor([0.5, 0.5]))
    assert torch.allclose(nothing, A / 2)


def _lora(rank: int, seed: int, scaling: float) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    return Factors(
        torch.randn(rank, 12, generator=generator),
        torch.randn(10, rank, generator=generator),
        scaling,
    )


def _update(lora: Factors) -> Tensor:
    return lora.scaling * lora.b @ lora.a


def _merged(blended: FactorBlend, *weights: float) -> Tensor:
    a, b = blended(torch.tensor(weights))
    return b @ a


ONE, TWO = _lora(2, 1, 2.0), _lora(3, 2, 0.5)


def test_products_of_other_ranks_and_scalings_add_up() -> None:
    whole = blend_products("task-arithmetic", [ONE, TWO], rank=5)
    assert whole(torch.ones(2))[0].shape == (5, 12)
    expected = 0.7 * _update(ONE) - 1.5 * _update(TWO)
    assert torch.allclose(_merged(whole, 0.7, -1.5), expected, atol=1e-5)
    wide = blend_products("task-arithmetic", [ONE, TWO], rank=11)  # more than there is
    assert wide(torch.ones(2))[1].shape == (10, 11)
    assert torch.allclose(_merged(wide, 0.7, -1.5), expected, atol=1e-5)


def test_cut_products_are_the_nearest_of_their_rank() -> None:
    total = 0.5 * _update(ONE) + 0.5 * _update(TWO)
    cut = _merged(blend_products("average", [ONE, TWO], rank=3), 0.5, 0.5)
    values = torch.linalg.svdvals(total)
    assert torch.linalg.matrix_rank(cut) == 3
    assert torch.allclose((total - cut).norm(), values[3:].norm(), atol=1e-4)


@pytest.mark.parametrize("how", ["ties", "slerp"])
def test_products_are_merged_whole(how: str) -> None:
    merged = _merged(blend_products(how, [ONE, TWO], rank=10, density=0.3), 0.4, 0.6)
    expected = blend(how, [_update(ONE), _update(TWO)], density=0.3)(torch.tensor([0.4, 0.6]))
    assert torch.allclose(merged, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "weights", "times"),
    [
        ("average", (0.5, 0.5), 1.0),
        ("linear", (1.5, -0.5), 1.0),
        ("task-arithmetic", (1.0, 1.0), 2.0),
        ("task-arithmetic", (-1.0, -0.5), -1.5),
        ("ties", (1.0, 1.0), 1.0),
        ("slerp", (0.3, 0.7), 1.0),
    ],
)
@pytest.mark.parametrize("way", ["products", "factors"])
def test_a_lora_merged_with_itself(
    how: str, weights: tuple[float, ...], times: float, way: str
) -> None:
    blends = {
        "products": blend_products(how, [ONE, ONE], rank=2),
        "factors": blend_factors(how, [ONE, ONE]),
    }
    blended = blends[way]
    assert torch.allclose(_merged(blended, *weights), times * _update(ONE), atol=1e-5)


def test_factors_mix() -> None:
    other = _lora(2, 5, 1.0)
    merged = _merged(blend_factors("task-arithmetic", [ONE, other]), 1.0, -3.0)
    a = 0.25 * ONE.a + 0.75 * other.a
    b = 2.0 * ONE.b - 3.0 * other.b
    assert torch.allclose(merged, b @ a, atol=1e-5)
    alone = _merged(blend_factors("task-arithmetic", [ONE, other]), 0.0, -3.0)
    assert torch.allclose(alone, -3 * _update(other), atol=1e-5)
