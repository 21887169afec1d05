"""`import adapter_stilts`: public names, keywords, and the same words as on the command line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adapter_stilts as ads
from adapter_stilts.cli import whole_command
from adapter_stilts.evaluation.options import Asked, EvaluationOptions
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.study import recommendation
from adapter_stilts.study.recommendation import RecommendOptions
from adapter_stilts.training.options import (
    MergeOptions,
    MergeRequest,
    RecipeChanges,
    Settings,
    TrainingOptions,
)

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "train-adapter": (ads.train_adapter,),
    "train-target": (ads.train_target,),
    "train-multitask": (ads.train_multitask,),
    "train-language": (ads.train_language,),
    "fuse": (ads.fuse,),
    "merge": (ads.merge,),
    "evaluate": (ads.evaluate, ads.evaluate_suite),
    "compare": (ads.compare,),
    "explain": (ads.explain,),
    "recommend": (ads.recommend,),
    "predict": (ads.predict,),
    "pull": (ads.pull,),
    "push": (ads.push,),
}
"""The function of every command that does what a function does."""

OF_A_SHELL = {
    "help": "prints the help",
    "as_json": "--json: the function returns what it prints",
    "task_file": "--task FILE: `task` takes the path",
    "seeds": "--seeds: `train_seeds`",
    "every": "--all: `sources` is then 'all'",
    "option": "--option, repeated: `options` takes a list",
    "train_file": "of several tasks: refused, with what to do in its place",
    "dev_file": "of several tasks: likewise",
    "test_file": "of several tasks: likewise",
    "picture": "--picture: `plot().save(…)` of what `compare` returns",
}
"""Options that a function has no keyword for, and what takes their place."""

OF_PYTHON = {
    "quiet": "--json shows no progress bar",
    "series": "--seeds makes a series",
    "on_language": "a function of the caller's",
    "on_examples": "a function of the caller's",
    "on_task": "a function of the caller's",
    "on_step": "a function of the caller's",
    "engines": "backbones in memory",
    "examples": "--file FILE, a line for each",
    "flat": "of `evaluate_suite`",
    "layer_rule": "for what is compared with other calls",
    "options": "--option, repeated",
    "choices": "another name of `options`, as lines of JSON have it",
    "tokens": "another name of `words`, likewise",
    "premise": "--premise is the second name of --text-a",
    "hypothesis": "--hypothesis is the second name of --text-b",
}
"""Keywords that a command has no option for, and why."""

ALONE = {
    ("compare", "out"): "the folder of the predictions is the usual one",
    ("compare", "tags"): "tasks of the user's own have tags of their own",
    ("compare", "overwrite"): "`evaluate --overwrite` does it",
    ("explain", "out"): "--out writes what `write_explanation` does",
}
"""What one command, or one function, has by itself."""

RENAMED = {"compositions": "with", "module": "with"}
"""`with` is a word of Python itself."""


def options_of(command: str) -> dict[str, set[str]]:
    """The names of a command's options, by that of its parameter."""
    found: Any = whole_command()
    made = found.get_command(None, command)
    return {
        str(each.name): {name.lstrip("-").replace("-", "_") for name in each.opts}
        for each in made.params
    }


@pytest.mark.parametrize("command", FUNCTIONS)
def test_words_are_those_of_python(command: str) -> None:
    known = {
        name for function in FUNCTIONS[command] for name in inspect.signature(function).parameters
    }
    options = options_of(command)
    words = {word for names in options.values() for word in names}
    alone = {word for of, word in ALONE if of == command}
    for name, names in options.items():
        assert name in OF_A_SHELL or names & (known | alone | set(RENAMED.values())), names
    missing = known - words - set(OF_PYTHON) - alone
    assert {name for name in missing if RENAMED.get(name) not in words} == set()


def test_every_public_name_is_listed_and_there() -> None:
    listed = set(dir(ads))
    assert set(ads.__all__) <= listed and len(ads.__all__) == len(set(ads.__all__))
    for name in ads.__all__:
        assert getattr(ads, name) is not None, name
    assert {"UserError", "FailureError", "NoDataError", "TaskSpec", "TargetSpec"} <= listed


def test_a_name_that_is_not_there_says_what_python_needs_to_suggest_one() -> None:
    with pytest.raises(AttributeError) as missing:
        ads.train_targt  # noqa: B018
    assert (missing.value.name, missing.value.obj) == ("train_targt", ads)


@pytest.mark.parametrize("name", ["stack", "fusion", "arrow", "linear", "ties", "slerp"])
def test_a_composition_is_explained_by_itself(name: str) -> None:
    said = inspect.getdoc(getattr(ads, name)) or ""
    assert said[0].isupper() and "Args:" in said and "Raises:" in said
    assert ("weights=" in said) == (name in ("linear", "ties", "slerp"))


def test_weights_by_name_are_no_module() -> None:
    with pytest.raises(ads.UserError, match=r"\{'a': 0\.3.* is no composition"):
        ads.linear({"a": 0.3, "b": 0.7})  # type: ignore[arg-type]


def test_public_names_have_docstrings() -> None:
    for name in ads.__all__:
        found = getattr(ads, name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert inspect.getdoc(found), name


@pytest.mark.parametrize(
    "function", [each for found in FUNCTIONS.values() for each in found], ids=lambda f: f.__name__
)
def test_an_unknown_keyword_is_refused(function: Callable[..., Any]) -> None:
    for kind in (TypeError, ads.UserError):
        with pytest.raises(kind, match=r"has no keyword 'zzz'") as caught:
            function("x", "y", zzz=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ads.train_adapter("squad", lrr=1e-3), "lr"),  # type: ignore[call-arg]
        (lambda: ads.evaluate("xnli", "mnli", lang="de"), "langs"),  # type: ignore[call-arg]
        (lambda: ads.merge(["a", "b"], weigths=[1, 2]), "weights"),  # type: ignore[call-arg]
        (lambda: ads.predict("squad", qestion="?"), "question"),  # type: ignore[call-overload]
        (lambda: ads.ties("a", "b", densty=0.2), "density"),  # type: ignore[call-arg]
        (lambda: ads.compare("a", "b", on="xnli", drws=9), "draws"),  # type: ignore[call-arg]
        (lambda: ads.Recipe(epoch=2), "epochs"),  # type: ignore[call-arg]
        (lambda: ads.Recipe().replace(epoch=2), "epochs"),
    ],
)
def test_the_nearest_keyword_is_named(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean '{word}'"):
        call()


def test_options_have_one_place() -> None:
    recipe = [each.name for each in dataclasses.fields(ads.Recipe)]
    assert list(RecipeChanges.__annotations__) == recipe
    settings = {each.name for each in dataclasses.fields(Settings)}
    assert set(TrainingOptions.__annotations__) == settings | set(recipe)
    assert set(EvaluationOptions.__annotations__) == {f.name for f in dataclasses.fields(Asked)}
    ranking = [f.name for f in dataclasses.fields(recommendation.Asked)]
    assert list(RecommendOptions.__annotations__) == ranking
    assert set(MergeOptions.__annotations__) == {f.name for f in dataclasses.fields(MergeRequest)}


def test_the_signature_lists_every_option() -> None:
    found = inspect.signature(ads.train_adapter).parameters
    assert {"lr", "dev_file", "report_to"} <= set(found)


def test_defaults_of_the_command_line_are_those_of_python() -> None:
    command: Any = whole_command()
    made = command.get_command(None, "evaluate")
    usual = {each.name: each.default for each in dataclasses.fields(Asked)}
    for each in made.params:
        if each.name in usual:
            assert each.default == usual[each.name], each.name


@pytest.mark.parametrize("given", ["squad", Path("squad"), ads.stack("squad", "tydiqa")])
def test_one_composition_is_a_text_a_path_or_an_object(given: Any, zoo: Path) -> None:
    """Everywhere: what is not there is named, so that the argument has been understood."""
    zoo.mkdir(parents=True, exist_ok=True)
    calls: list[Callable[[], Any]] = [
        lambda: ads.load(given),
        lambda: ads.predict(given, text="x"),
        lambda: ads.predict(given, [{"text": "x"}]),
        lambda: ads.evaluate("xnli", given, data="sample"),
        lambda: ads.compare(given, "mnli", on="xnli", data="sample"),
        lambda: ads.train_target("xnli", on=given, data="sample"),
        lambda: ads.fuse([given, "mnli"], "xnli", data="sample"),
        lambda: ads.explain(given, task="xnli", data="sample"),
        lambda: ads.push(given, "someone/x"),
        lambda: ads.recommend("xnli", modules=given, data="sample"),
        lambda: ads.evaluate_suite("xtreme", {"xnli": given}, data="sample"),
    ]
    for call in calls:
        with pytest.raises(ads.UserError, match="squad"):
            call()


def test_what_is_no_composition_is_refused() -> None:
    for wrong in (3, None, object()):
        with pytest.raises(ads.UserError, match="composition"):
            ads.evaluate("xnli", wrong, data="sample")  # type: ignore[arg-type]
    with pytest.raises(ads.UserError, match="empty"):
        ads.stack("", "squad")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: ads.train_adapter("squad", steps="many"), "steps='many'"),  # type: ignore[arg-type]
        (lambda: ads.train_adapter("squad", steps=True), "steps=True"),
        (lambda: ads.train_adapter("squad", steps=2.5), "steps=2.5"),  # type: ignore[arg-type]
        (lambda: ads.train_adapter("squad", lr="fast"), "lr='fast'"),  # type: ignore[arg-type]
        (lambda: ads.train_adapter("squad", method=3), "method=3"),  # type: ignore[arg-type]
        (lambda: ads.evaluate("xnli", "none", langs=3), "langs=3"),  # type: ignore[arg-type]
        (lambda: ads.evaluate("xnli", "none", limit="x"), "limit='x'"),  # type: ignore[arg-type]
        (lambda: ads.predict("squad", question=5), "question=5"),  # type: ignore[call-overload]
    ],
)
def test_a_value_of_another_type_is_refused_by_name(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ads.UserError) as refused:
        call()
    assert named in str(refused.value) and "was expected" in str(refused.value)


def test_numbers_of_numpy_are_numbers() -> None:
    @checks_keywords
    def function(*, limit: int | None = None, lr: float = 0.0) -> tuple[Any, ...]:
        """Gives back what it is given."""
        return type(limit), limit, type(lr), lr

    given: dict[str, Any] = {"limit": np.int64(3), "lr": np.float32(0.5)}
    assert function(**given) == (int, 3, float, 0.5)


def test_a_path_is_a_text(tmp_path: Path) -> None:
    """A folder of data is refused for what it lacks, and not for being a path."""
    with pytest.raises(ads.UserError) as refused:
        ads.evaluate("xnli", "none", data=tmp_path)
    assert "was expected" not in str(refused.value)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_backbone_and_a_recipe_are_texts_or_paths(kind: Callable[[str], str | Path]) -> None:
    """Each call gets as far as the name of what is not there."""
    away, data = kind("/nowhere"), kind("sample")
    calls: list[Callable[[], Any]] = [
        lambda: ads.train_adapter("mnli", backbone=away, data=data),
        lambda: ads.train_adapter("mnli", recipe=away, data=data),
        lambda: ads.train_target("xnli", backbone=away, data=data),
        lambda: ads.train_multitask("mnli,squad", backbone=away, data=data),
        lambda: ads.fuse(["/nowhere", "b"], "xnli", backbone=away, recipe=kind("default")),
        lambda: ads.merge(["/nowhere", "b"], backbone=away, data=data),
        lambda: ads.load("/nowhere", backbone=away, task=kind("mnli")),
        lambda: ads.predict("/nowhere", backbone=away, task=kind("mnli"), text="x"),
        lambda: ads.evaluate("xnli", "/nowhere", backbone=away, data=data),
        lambda: ads.compare("/nowhere", "b", on="xnli", backbone=away, data=data),
        lambda: ads.recommend("xnli", modules="/nowhere", backbone=away, data=data),
        lambda: ads.push("/nowhere", "someone/x", backbone=away),
    ]
    for call in calls:
        with pytest.raises(ads.UserError, match="/nowhere"):
            call()


def test_a_task_prints_as_one_short_line() -> None:
    assert repr(ads.get_task("squad")) == "<TaskSpec squad: span, squad>"
    assert repr(ads.get_target("xcopa")).startswith("<TargetSpec xcopa: choice, accuracy, 1")


WRONG: tuple[tuple[Callable[[], Any], str], ...] = (
    (lambda: ads.train_adapter("mnli", backbone=Path("nowhere"), data="sample"), "'nowhere'"),
    (lambda: ads.train_adapter("mnli", recipe=Path("none.yaml"), data="sample"), "none.yaml"),
    (lambda: ads.train_adapter("mnli", recipe={"lr": 1}, data="sample"), "recipe {'lr': 1}"),  # type: ignore[arg-type]
    (lambda: ads.train_multitask(None), "None is no task"),  # type: ignore[arg-type]
    (lambda: ads.train_multitask(3), "3 is no task"),  # type: ignore[arg-type]
    (lambda: ads.train_language(3, "x.txt"), "language=3"),  # type: ignore[arg-type]
    (lambda: ads.train_seeds(ads.train_adapter, "mnli", seeds="0,1"), "'0,1'"),  # type: ignore[arg-type]
    (lambda: ads.train_seeds(ads.train_adapter, "mnli", seeds=3), "seeds 3"),  # type: ignore[arg-type]
    (lambda: ads.train_seeds(ads.train_adapter, "no", seeds=np.arange(2)), "no task 'no'"),  # type: ignore[arg-type]
    (lambda: ads.train_seeds("train_adapter", seeds=[0]), "'train_adapter'"),  # type: ignore[arg-type]
    (lambda: ads.compare("a", "b", on=None), "None is no task"),  # type: ignore[arg-type]
    (lambda: ads.include(None), "plug-in None"),  # type: ignore[arg-type]
    (lambda: ads.metric(3, heads="span"), "3 is no name of a metric"),  # type: ignore[arg-type]
    (lambda: ads.metric("x", head="span"), "'head': did you mean 'heads'?"),  # type: ignore[call-arg]
    (lambda: ads.metric("x"), "call it as metric(name=…, heads=[…])"),  # type: ignore[call-arg]
    (lambda: ads.merge_method("x", signd=True), "'signd': did you mean 'signed'?"),  # type: ignore[call-overload]
    (lambda: ads.adapter_method("x", famly="lora"), "'family'"),  # type: ignore[call-arg]
    (lambda: ads.fuse("a", "b", target="xnli"), "call it as fuse(sources=[…], target=…)"),  # type: ignore[misc]
    (lambda: ads.fuse("a", "b", "xnli"), "call it as fuse(sources=[…], target=…)"),  # type: ignore[call-arg]
    (lambda: ads.push("mnli", None), "to=None"),  # type: ignore[arg-type]
    (lambda: ads.pull(None), "module=None"),  # type: ignore[arg-type]
    (lambda: ads.predict("squad", [], text="x"), "text="),  # type: ignore[call-overload]
    (lambda: ads.train_adapter("mnli", train_file=Lines()), "train_file=a b"),  # type: ignore[arg-type]
)


class Lines:
    """Shows itself in several lines, as a data frame does."""

    def __repr__(self) -> str:
        return "a\nb"


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_each_mistake_is_one_line(number: int) -> None:
    call, words = WRONG[number]
    with pytest.raises(ads.UserError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
