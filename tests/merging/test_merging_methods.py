"""Every merge method, as it is declared."""

from __future__ import annotations

import inspect

import pytest
import torch

from adapter_stilts.merging.blend import blend
from adapter_stilts.merging.methods import MERGES, built_in_merges

A, B = torch.tensor([[4.0, -1.0], [0.5, -3.0]]), torch.tensor([[-1.0, -2.0], [3.0, -0.5]])


def test_built_in_methods_are_found() -> None:
    expected = ["average", "dare-ties", "linear", "slerp", "task-arithmetic", "ties"]
    assert list(built_in_merges()) == expected


@pytest.mark.parametrize("how", built_in_merges())
def test_declaration_is_true_of_the_function(how: str) -> None:
    method = MERGES[how]
    weights = [torch.tensor(each) for each in ([1.0, 0.0], [0.0, 1.0], [0.75, 0.25], [0.5, 0.5])]
    alone = [method.function([A, B], each) for each in weights]
    assert all(each.shape == A.shape for each in alone)
    if method.form != "any":  # linear in the weights
        assert torch.allclose(alone[2], 0.75 * alone[0] + 0.25 * alone[1])
    if method.form == "sum":
        assert torch.equal(alone[0], A) and torch.equal(alone[1], B)
    if not method.density:  # a module merged with itself is itself
        assert torch.allclose(method.function([A, A], weights[3]).float(), A)
    assert torch.equal(method.function([A, B], weights[2]), alone[2])  # the same again
    assert inspect.getdoc(method.function)


@pytest.mark.parametrize("how", built_in_merges())
def test_blend_is_the_function(how: str) -> None:
    method, weights = MERGES[how], torch.tensor([0.75, 0.25])
    options = {"density": 1.0} if method.density else {}
    blended = blend(how, [A, B], density=1.0)(weights)
    assert torch.allclose(blended, method.function([A, B], weights, **options).float())
