"""Seeds of one module are one way to learn a target, not several tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.study.recommender import find_candidates
from adapter_stilts.training.target import all_sources, resolve_sources
from cli_kit import assert_one_line, call_cli
from made_modules import make_engine, save_made
from own_kit import task_file


def _copy(folder: Path, name: str, **recipe: int) -> None:
    """Another training of a module, as of another seed."""
    made = Path(shutil.copytree(folder, folder.with_name(name)))
    record = json.loads((made / "module.json").read_text(encoding="utf-8"))
    record["recipe"] |= recipe
    record["run"] = name.encode().hex()[:16].ljust(16, "0")
    (made / "module.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture
def seeds(tiny_xlmr: Path, zoo: Path) -> Path:
    """SQuAD by two seeds and by more steps, and MNLI whose seed 0 is not here."""
    folder, engine = zoo / "tiny", make_engine(str(tiny_xlmr))
    for name, head in (("squad", "span"), ("mnli", "classification")):
        save_made(engine, name, "bottleneck", head, folder / name)
        _copy(folder / name, f"{name}-s2", seed=2)
        _copy(folder / name, f"{name}-s1", seed=1)
    _copy(folder / "squad", "squad-long", steps=9)
    _copy(folder / "squad", "squad-long-s1", steps=9, seed=1)
    shutil.rmtree(folder / "mnli")
    return folder


def _names(given: list[str]) -> list[str]:
    return [Path(each.given).name for each in find_candidates(given, "bottleneck")]


def test_one_of_each_is_ranked(seeds: Path) -> None:
    assert _names([str(seeds)]) == ["mnli-s1", "squad", "squad-long"]
    assert [Path(each).name for each in all_sources("bottleneck")] == ["mnli-s1", "squad"]


def test_seeds_that_are_named_are_refused(
    seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="squad and squad-s2 are seeds of one module"):
        find_candidates(["squad", "mnli-s1", "squad-s2"], "bottleneck")
    assert _names(["squad", "squad-long-s1", "mnli-s1"]) == ["squad", "squad-long-s1", "mnli-s1"]
    # A fusion may have both: what each has learnt differs.
    assert len(resolve_sources(["squad", "squad-s1"]).modules) == 2
    path = task_file(tmp_path, "a.csv", "text,label\nfine,yes\nbad,no\n")
    result = call_cli(
        monkeypatch, capsys, "recommend", "--task", str(path), "--modules", "squad-s*"
    )
    assert_one_line(result, 2, "all seeds of squad")


def test_a_backbone_without_modules_names_those_that_have_some(seeds: Path) -> None:
    with pytest.raises(UserError, match=r"for backbone other; there are none; .* for tiny"):
        find_candidates([], "bottleneck", "other")
