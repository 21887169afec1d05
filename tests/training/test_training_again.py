"""A module's card has the command that makes it again: the same run, whatever was set."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_kit import SHORT, Train  # type: ignore[import-not-found]
from transformers import TrainerState

from adapter_stilts import cli, fuse, train_adapter, train_multitask, train_target
from adapter_stilts.cli import whole_command
from adapter_stilts.errors import UserError
from adapter_stilts.training import execute
from adapter_stilts.training.execute import add_module_of
from adapter_stilts.training.finish import make_record
from adapter_stilts.training.job import Job
from adapter_stilts.training.recipe import Recipe, get_recipe
from adapter_stilts.training.run import Trained, train_language
from adapter_stilts.training.spec import complete
from adapter_stilts.yaml_files import MAX_BYTES
from adapter_stilts.zoo.provenance import RECIPE, command_text, write_recipe
from adapter_stilts.zoo.record import ModuleRecord
from fusion_kit import copy_zoo

OTHER: dict[str, tuple[Any, ...]] = {
    "method": ("lora", "head"),
    "epochs": (0.0, 1.5),
    "steps": (7,),
    "min_steps": (0, 40),
    "lr": (2.5e-4, 1e-7),
    "batch_tokens": (1024,),
    "batch_examples": (5,),
    "accumulate": (2,),
    "max_length": (48,),
    "stride": (0, 16),
    "warmup": (0.0, 0.3),
    "weight_decay": (0.0, 0.2),
    "max_grad_norm": (0.0, 0.5),
    "unfreeze": ("top-down",),
    "unfreeze_fraction": (0.0, 0.7),
    "leave_out": ((0,), (1, 2)),
    "reduction_factor": (4,),
    "rank": (2,),
    "alpha": (3,),
    "head_dropout": (0.0, 0.25),
    "evaluations": (1, 3),
    "keep": ("last", "mean"),
    "average_last": (1, 2),
    "patience": (0, 2),
    "precision": ("fp32",),
    "activations": ("recomputed", "offloaded"),
}
"""Other values than the usual ones, 0 among them where it means something."""
EVERY = Recipe(
    **{name: values[-1] for name, values in OTHER.items() if name not in ("method", "keep")},
    keep="mean",
)
NOTHING = Recipe(
    **{
        name: values[0]
        for name, values in OTHER.items()
        if name not in ("method", "precision", "activations")
    },
    precision="fp32",
)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Trainings that end before their first step; the jobs they had."""
    jobs: list[Job] = []

    def run(job: Job, *args: Any, **kwargs: Any) -> tuple[TrainerState, float]:
        jobs.append(job)
        add_module_of(job)
        return _state(job), 1.0

    monkeypatch.setattr(execute, "_run", run)
    return jobs


def _state(job: Job) -> TrainerState:
    names = [f"{each.task.name}.{each.metric}" for each in job.tasks]
    scores = {f"eval_{name}": 50.0 for name in (job.metric, *names)}
    steps = job.recipe.steps
    return TrainerState(global_step=steps, max_steps=steps, log_history=[{"step": steps, **scores}])


def test_no_field_is_forgotten() -> None:
    assert OTHER.keys() == {field.name for field in dataclasses.fields(Recipe)}
    for name, values in OTHER.items():
        assert any(value != getattr(Recipe(), name) for value in values), name
    assert EVERY != Recipe() != NOTHING


def test_the_recipe_that_is_written_is_that_run(
    train: Train, untrained: list[Job], tmp_path: Path
) -> None:
    train()
    (first,) = untrained
    runs = set()
    for name, values in OTHER.items():
        for value in values:
            changed = Recipe(**{"precision": "fp32", name: value})
            asked = complete(changed, first.spec, first.engine.backbone)
            job, _ = dataclasses.replace(first, recipe=asked).with_schedule()
            record = dataclasses.replace(
                make_record(first, _state(first), 1.0, {}),
                run=job.run,
                recipe={**dataclasses.asdict(job.recipe), "seed": 0},
            )
            folder = tmp_path / f"{name}-{value}"
            folder.mkdir()
            write_recipe(record, folder)
            parsed = _parsed(command_text(record, str(folder / RECIPE)))
            assert parsed["seed"] == 0 and parsed["method"] is None
            again = complete(get_recipe(parsed["recipe"]), first.spec, first.engine.backbone)
            remade, _ = dataclasses.replace(first, recipe=again).with_schedule()
            assert remade.recipe == job.recipe, (name, value)
            assert remade.run == job.run
            runs.add(job.run)
    assert len(runs) > len(OTHER)


def _parsed(command: str) -> dict[str, Any]:
    """What the command line makes of a command."""
    arguments = shlex.split(command)[1:]
    group = whole_command()
    with group.make_context("adstilts", list(arguments)) as context:
        found = group.commands[arguments[0]]
        made = found.make_context(arguments[0], list(arguments[1:]), parent=context)
    return dict(made.params)


def _single(backbone: str, **given: Any) -> Trained:
    return train_adapter("mnli", backbone=backbone, **given)


def _several(backbone: str, **given: Any) -> Trained:
    tasks = ["mnli", "ccg", "squad"]
    return train_multitask(
        tasks, temperature=1.5, normalise_losses=True, backbone=backbone, **given
    )


def _target(backbone: str, **given: Any) -> Trained:
    return train_target("tydiqa", on="qa", fresh_head=True, backbone=backbone, **given)


def _staged(backbone: str, **given: Any) -> Trained:
    return train_target("xcopa", backbone=backbone, **given)


def _fused(backbone: str, **given: Any) -> Trained:
    return fuse(["mnli", "qa"], "tydiqa", kind="full", backbone=backbone, **given)


def _fused_in_stages(backbone: str, **given: Any) -> Trained:
    return fuse(["mnli", "qa"], "xcopa", backbone=backbone, **given)


def _language(backbone: str, **given: Any) -> Trained:
    own = {key: value for key, value in given.items() if key != "data"}
    text = Path("sw.txt")
    text.write_text("\n".join(f"Habari ya asubuhi, rafiki yangu {n}." for n in range(40)), "utf-8")
    return train_language("sw", text, backbone=backbone, **own)


MADE = (_single, _several, _target, _staged, _fused, _fused_in_stages, _language)


@pytest.mark.parametrize("recipe", [EVERY, NOTHING, None], ids=["other", "zeros", "usual"])
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__.strip("_"))
def test_the_command_of_the_card_makes_the_same_run(
    tiny_xlmr: Path,
    zoo: Path,
    untrained: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Trained],
    recipe: Recipe | None,
) -> None:
    if make in (_target, _fused, _fused_in_stages):
        copy_zoo(str(tiny_xlmr), zoo / "tiny", "bottleneck")
    given: dict[str, Any] = {"data": "sample", "seed": 3, "limit": 20, "dev_limit": 8}
    given |= {} if recipe is None else {"recipe": recipe}
    monkeypatch.chdir(tmp_path)
    trained = make(str(tiny_xlmr), **given, quiet=True, out=tmp_path / "first")
    card = (trained.path / "README.md").read_text("utf-8")
    assert RECIPE in trained.record.files
    (line,) = re.findall(r"^adstilts (.*)$", card, re.MULTILINE)
    arguments = [{"TEXT": "sw.txt"}.get(each, each) for each in shlex.split(line)]
    place = arguments.index("--recipe") + 1
    arguments[place] = str(trained.path / arguments[place])
    monkeypatch.setattr(sys, "argv", ["adstilts", *arguments, "--out", str(tmp_path / "again")])
    cli.main()  # what fails ends in SystemExit
    assert ModuleRecord.read(tmp_path / "again").run == trained.record.run


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epochs: 3\n" + b"# " + b"x" * MAX_BYTES, "larger than"),
        (b"\x00\x01\x02", "recipe"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: &a [x]\nb: [*a, *a]\n", "aliases"),
        (b"[" * 15000, "brackets"),
        (b"{" * 15000, "brackets"),
        (b"- " * 8000, "nested too deeply"),
        (b"lr: " + b"9" * 15000, "line 1: .*no number that can be"),
        (b"lr: 1.0e-3\nlearning_rate: 2\n", "learning_rate"),
        (b"lr: .inf\n", "lr: Input should be a finite number"),
        (b"lr: !!python/object/apply:os.system ['true']\n", "recipe"),
        (b"batch_tokens: 99999999999999999999999\nsteps: {a: 1}\n", "steps: Input should be"),
    ],
)
def test_a_strangers_recipe_gets_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / RECIPE
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        get_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_a_recipe_for_another_method(
    train: Train, untrained: list[Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / RECIPE
    path.write_text("method: lora\nrank: 4\n")
    own = {key: value for key, value in SHORT.items() if key == "task"}
    assert train(**own, recipe=str(path)).record.method == "lora"
    assert "is for the method" not in caplog.text
    trained = train(**own, recipe=str(path), method="bottleneck", out=tmp_path / "other")
    assert trained.record.method == "bottleneck"
    assert "is for the method lora: bottleneck wins" in caplog.text
