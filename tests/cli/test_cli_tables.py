"""Every table fits a terminal of 80 columns, and no word is cut in two."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adapter_stilts
from adapter_stilts.cli import results
from adapter_stilts.cli.results import fold, layout, print_table
from adapter_stilts.data import status
from adapter_stilts.data.parts import FilePart, find_parts, samples_folder
from adapter_stilts.data.status import count_rows
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.run import Evaluation
from adapter_stilts.evaluation.suite import SUITES, SuiteEvaluation, aggregate
from adapter_stilts.tasks.registry import get_target, intermediate_tasks, target_tasks
from adapter_stilts.tasks.spec import Split
from cli_kit import Result

Run = Callable[..., Result]
SHIPPED = Path(adapter_stilts.__file__).parents[2] / "adapters_zoo"
_PIECES = re.compile(r"[\s\-/_.,:;=@(+)\[\]]+")


def assert_fits(narrow: str, wide: str, width: int = 80) -> None:
    """No line is longer, and every piece of a word is one of the wide output."""
    for line in narrow.splitlines():
        assert len(line) <= width, line
    whole = set(_PIECES.split(wide)) | {"no", "room", "for", "json", "has", "all"}
    cut = [piece for piece in _PIECES.split(narrow) if piece not in whole]
    assert not [piece for piece in cut if not piece.isdecimal()], cut


@pytest.fixture
def both(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """The output of a command at 80 columns, and at a thousand."""

    def call(*arguments: str) -> tuple[str, str]:
        shown = []
        for width in ("80", "1000"):
            monkeypatch.setenv("COLUMNS", width)
            shown.append(run(*arguments)[1])
        return shown[0], shown[1]

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "--data", "sample"),
        ("tasks", "xnli", "--data", "sample"),
        ("tasks", "squad-v2"),
        ("tasks",),
        ("zoo", "list"),
        ("zoo", "show", "embedded/tydiqa"),
        ("zoo", "show", "embedded/commonsense-qa-lora"),
        ("zoo", "verify", "--quick", "embedded/multitask", "embedded/squad"),
        ("doctor",),
    ],
)
def test_the_tables_of_commands_fit(
    both: Callable[..., tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(SHIPPED))
    monkeypatch.setattr("adapter_stilts.environment.hub_state", lambda: "https://hub answers")
    narrow, wide = both(*arguments)
    assert narrow.strip()
    assert_fits(narrow.partition("\n\n")[0], wide)  # a card below has lines of code


def test_long_names_of_modules_fit(
    both: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "tydiqa-on-ties-commonsense-qa-squad-v2-hellaswag-cosmos-qa-with-density"
    folder = tmp_path / "shared" / "a-backbone-of-a-long-name" / name
    shutil.copytree(SHIPPED / "embedded" / "squad", folder)
    (tmp_path / "shared" / "a-backbone-of-a-long-name" / "broken").mkdir()
    (tmp_path / "shared" / "a-backbone-of-a-long-name" / "broken" / "module.json").write_text("{")
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(tmp_path / "shared"))
    for arguments in (("zoo", "list"), ("zoo", "verify", "--quick")):
        narrow, wide = both(*arguments)
        assert_fits(narrow, wide)


def evaluation(composition: str, folder: Path) -> Evaluation:
    entry = {"scores": {"f1": 51.3, "exact_match": 40.0}, "examples": 12345, "labelled": True}
    languages: dict[str, Any] = {code: {**entry, "seconds": 3.0} for code in ("en", "ko", "sw")}
    languages["th"] = {**entry, "scores": {}, "labelled": False}
    return Evaluation("tydiqa", "test", composition, folder, "f1", languages, {})


COMPOSITIONS = (
    "stack(fuse(commonsense-qa, hellaswag, squad-v2), tydiqa)",
    "stack(squad-v2, tydiqa)",
    "tydiqa",
    "stack(ties(squad, mnli, density=0.5), tydiqa)",
    "stack(linear(0.3*squad, 0.7*mnli), tydiqa)",
    "average(squad, mnli)",
    "stack(anli-plus-double-bottleneck, tydiqa-parallel-bottleneck)",
)


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_evaluations_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int
) -> None:
    found = [evaluation(each, Path("predictions")) for each in COMPOSITIONS[:count]]
    shown = []
    for width in ("80", "1000"):
        monkeypatch.setenv("COLUMNS", width)
        results.show_evaluations(found)
        shown.append(capsys.readouterr().out)
    narrow, wide = shown
    assert "51.3" in narrow and "transfer gap" in narrow
    table = narrow[: narrow.index("predictions:")]
    assert_fits(table.partition("\n")[2], wide)


def test_what_could_not_be_evaluated_is_told_in_lines_that_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "no test data of tydiqa.ar in 'data': expected tydiqa.ar.test.json there"
    missing = dict.fromkeys(get_target("tydiqa").languages * 3, why)
    missing |= {f"{lang}-Latn": why for lang in missing}
    found = dataclasses.replace(evaluation("tydiqa", Path("p")), missing=missing)
    monkeypatch.setenv("COLUMNS", "80")
    results.show_evaluations([found])
    note = capsys.readouterr().out.partition("not evaluated")[2].partition("predictions:")[0]
    assert f"{', '.join(missing)} ({why})" == " ".join(note.split()).partition("data: ")[2]
    assert len(note) > 160 and max(map(len, note.splitlines())) <= 80


def test_a_mean_and_its_deviation_are_not_parted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("tydiqa-on-squad", "tydiqa-on-squad-v2-double-bottleneck", "stack(squad, tydiqa-on-x)")
    found = [
        dataclasses.replace(evaluation(name, Path("p")), seeds_of=f"{name}-s*", seed=seed)
        for name in names
        for seed in (0, 1, 2)
    ]
    found += [evaluation(name, Path("p")) for name in ("embedded/squad-lora", "tydiqa-fusion")]
    for each in found:
        each.languages.pop("th")  # type: ignore[attr-defined]
    monkeypatch.setenv("COLUMNS", "80")
    results.show_evaluations(found)
    out = capsys.readouterr().out
    table = out[out.index("language") : out.index("predictions:")].splitlines()
    assert max(map(len, table)) <= 80
    (row,) = (line for line in table if line.startswith("ko"))
    assert row.count("51.3 ± 0.0") == 3 and "12,345" in row


def test_a_suite_fits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    languages = {name: ("en", "sw") for names in SUITES["xtreme-r"].values() for name in names}
    found = {"tydiqa": {"en": {"f1": 50.0, "exact_match": 40.0}}}
    scores = aggregate("xtreme-r", found, languages)
    folder = Path("predictions")
    evaluations = {"tydiqa": evaluation(COMPOSITIONS[0], folder)}
    shown = []
    for width in ("80", "1000"):
        monkeypatch.setenv("COLUMNS", width)
        results.show_suite(SuiteEvaluation(scores, evaluations, {}, folder))
        shown.append(capsys.readouterr().out)
    assert_fits(shown[0], shown[1])


def test_spare_columns_go_first_and_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, rows = ("name", "about", "from"), [("squad", "x" * 40, "y" * 30)]
    monkeypatch.setenv("COLUMNS", "60")
    print_table(columns, rows, spare=("from",))
    assert capsys.readouterr().out.splitlines() == [
        "name   about",
        f"squad  {'x' * 40}",
        "(no room for from: --json has all)",
    ]
    monkeypatch.delenv("COLUMNS")  # into a pipe: whole rows
    print_table(columns, rows, spare=("from",))
    assert f"squad  {'x' * 40}  {'y' * 30}" in capsys.readouterr().out


def test_where_nothing_fits_rows_stand_one_below_the_other() -> None:
    columns = tuple(f"c{number}" for number in range(12))
    rows = [tuple(f"value{number}" for number in range(12))]
    lines, _ = layout(columns, rows, width=40)
    assert lines == [f"c{number}: value{number}" for number in range(12)]


def test_columns_move_together_before_a_cell_is_folded() -> None:
    rows = [("embedded/commonsense-qa-lora", "accuracy 44.0"), ("x", "accuracy 61.0 (chance)")]
    lines, _ = layout(("module", "dev score"), rows, width=51)
    assert lines[1:] == [f"{rows[0][0]} accuracy 44.0", f"x{' ' * 28}accuracy 61.0 (chance)"]
    assert len(layout(("module", "dev score"), rows, width=50)[0]) > 3


def test_many_long_headings_are_numbered() -> None:
    columns = ("layer", *(f"commonsensequestions{number}" for number in range(9)))
    lines, _ = layout(columns, [("1", *["0.11"] * 9)], width=80)
    assert lines[0].split() == ["layer", *(f"[{number}]" for number in range(1, 10))]
    assert lines[2] == "[1] commonsensequestions0" and len(lines) == 11


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("tydiqa-on-squad", 10, ["tydiqa-on-", "squad"]),
        ("51.0 ± 1.0", 12, ["51.0 ± 1.0"]),
        ("f1 51.0 ± 1.0", 11, ["f1", "51.0 ± 1.0"]),
        ("12,345", 6, ["12,345"]),
        ("a tydiqa-on-squad", 17, ["a tydiqa-on-squad"]),
        ("/a/long/folder", 8, ["/a/long/", "folder"]),
        ("абвгд", 2, ["аб", "вг", "д"]),
        ("", 5, [""]),
    ],
)
def test_texts_fold_between_words(text: str, width: int, lines: list[str]) -> None:
    assert fold(text, width) == lines


def parts() -> list[FilePart]:
    """Every part of the bundled samples."""
    found: list[FilePart] = []
    splits: tuple[Split, ...] = ("train", "dev", "test")
    specs = [*intermediate_tasks().values()]
    specs += [each.at(code) for each in target_tasks().values() for code in each.languages[:4]]
    for spec in specs:
        for split in splits:
            try:
                found += find_parts(spec, split, samples_folder())
            except UserError:
                continue
    return found


def test_rows_are_counted_as_they_are_read() -> None:
    every = parts()
    assert {part.layout.format for part in every} >= {"jsonl", "tsv", "conll", "squad"}
    for part in every:
        assert count_rows(part) == sum(1 for _ in part.rows()), part.files


def test_a_count_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(samples_folder() / "mnli", tmp_path / "data" / "mnli")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10)

    def rows() -> Any:
        out = run("tasks", "mnli", "--data", str(tmp_path / "data"), "--json")[1]
        return json.loads(out)[0]["rows"]["train"]

    before = rows()
    assert list((tmp_path / "cache" / "counts").glob("*.json"))
    with monkeypatch.context() as patch:
        patch.setattr(status, "_count", None)
        assert rows() == before
    path = next((tmp_path / "data" / "mnli").glob("train*"))
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    assert rows() == before + 1
