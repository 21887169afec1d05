"""Recipes from YAML, names and arguments; what cannot be gets one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.training.recipe import RECIPES, Recipe, get_recipe, parse_layers


def from_yaml(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return get_recipe(str(path))


def test_a_recipe_file_changes_the_fields_it_names(tmp_path: Path) -> None:
    text = "method: lora\nepochs: 2\nlr: 5e-4\nbatch-tokens: 1024\nleave-out: [0, 2-3]\n"
    assert from_yaml(tmp_path, text) == Recipe(
        method="lora", epochs=2.0, lr=5e-4, batch_tokens=1024, leave_out=(0, 2, 3)
    )


def test_a_recipe_file_starts_from_its_base(tmp_path: Path) -> None:
    found = from_yaml(tmp_path, "base: demo\npatience: 2\n")
    assert found == RECIPES["demo"].replace(patience=2)
    assert found != Recipe(patience=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "no field 'epoch': did you mean 'epochs'?"),
        ("epochs: three", "epochs: Input should be a valid number, not 'three'"),
        ("epochs: true", "epochs: Input should be a valid number, not True"),
        ("lr: 1_000", "lr: Input should be a valid number, not '1_000'"),
        ("batch_tokens: 010", "'010' can be read in several ways: write 10"),
        ("batch_tokens: 10.5", "batch-tokens: Input should be a valid integer, not 10.5"),
        ("patience: false", "patience: Input should be a valid integer, not False"),
        ("method: 5", "method: Input should be a valid string, not 5"),
        ("method: lor", "did you mean 'lora'"),
        ("unfreeze: true", "unfreeze: "),
        ("unfreeze: null", "unfreeze: "),
        ("unfreeze: [top-down]", "unfreeze: "),
        ("unfreeze: top-dwn", "did you mean 'top-down'"),
        ("precision: fp16", "no precision 'fp16'"),
        ("base: nothing", "base must be one of"),
        ("base: [default]", "base must be one of"),
        ("leave_out: top", "'top' is not a layer number"),
        ("leave_out: true", "'True' is not a layer number"),
        ("epochs: [", "not valid YAML"),
        ("- epochs", "expected lines such as"),
        ("", "expected lines such as"),
        ("epochs: .nan", "epochs: Input should be a finite number"),
        ("epochs: .inf", "epochs: Input should be a finite number"),
        ("1: 2", "no field '1'"),
    ],
)
def test_a_wrong_recipe_file_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_yaml(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_without_end_is_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="epochs") as caught:
        from_yaml(tmp_path, f"epochs: {'long ' * 1000}")
    assert len(str(caught.value)) < 400


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        get_recipe(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="no recipe 'defalt': did you mean 'default'"):
        get_recipe("defalt")
    path = tmp_path / "latin.yml"
    path.write_bytes("method: l\xf6ra".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        get_recipe(str(path))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("epochs", (-1, float("nan"), float("inf"))),
        ("batch_tokens", (0, -5)),
        ("batch_examples", (0,)),
        ("accumulate", (0,)),
        ("evaluations", (0,)),
        ("lr", (-1e-3, float("nan"))),
        ("max_length", (-1,)),
        ("stride", (-1,)),
        ("weight_decay", (-0.1, float("inf"))),
        ("max_grad_norm", (-1.0, float("nan"))),
        ("patience", (-1,)),
        ("reduction_factor", (-2,)),
        ("rank", (-1,)),
        ("alpha", (-1,)),
        ("warmup", (-0.1, 1.1)),
        ("unfreeze_fraction", (1.5,)),
        ("head_dropout", (-0.5, 2.0)),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(UserError, match=field.replace("_", "-")):
            Recipe(**{field: value})


def test_bounds_themselves_are_allowed() -> None:
    Recipe(warmup=0.0, unfreeze_fraction=1.0, head_dropout=0.0, weight_decay=0.0, max_grad_norm=0)
    Recipe(epochs=0.01, batch_tokens=1, patience=0, stride=0)


def test_equal_values_are_spelt_alike() -> None:
    """A run's identity is a hash of its recipe: `epochs=1` in Python is `--epochs 1.0`."""
    fields: dict[str, Any] = {"epochs": 1, "lr": 0, "leave_out": [1, 2]}
    assert repr(Recipe(**fields)) == repr(Recipe(epochs=1.0, lr=0.0, leave_out=(1, 2)))


def test_replace_leaves_what_is_not_given() -> None:
    assert Recipe().replace(lr=None, epochs=7) == Recipe(epochs=7)


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ("", ()),
        ("0", (0,)),
        ("0-5,11", (0, 1, 2, 3, 4, 5, 11)),
        (" 3 , 1,3", (1, 3)),
        ("4-4", (4,)),
        ([0, "2-3"], (0, 2, 3)),
    ],
)
def test_layers_are_numbers_and_ranges(given: str | list[Any], layers: tuple[int, ...]) -> None:
    assert parse_layers(given) == layers


@pytest.mark.parametrize(
    "given", ["a", "-1", "1-", "5-3", "1-2-3", "1.5", "²", "0-99999999", [[1]]]
)
def test_other_layers_are_refused(given: str | list[Any]) -> None:
    with pytest.raises(UserError, match="is not a layer number"):
        parse_layers(given)


def test_a_recipe_prints_what_is_changed() -> None:
    recipe = Recipe(method="lora", lr=0.01, leave_out=(0, 1))
    assert repr(recipe) == "Recipe(method='lora', lr=0.01, leave_out=(0, 1))"
    assert eval(repr(recipe)) == recipe and repr(Recipe()) == "Recipe()"
