"""`adstilts evaluate` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.evaluation import suite as suites
from adapter_stilts.evaluation.files import Store
from cli_kit import Result, assert_one_line
from evaluation_kit import write_data

Run = Callable[..., Result]
COMMON = ("--data", "data", "--precision", "fp32")


@pytest.fixture
def evaluate(run: Run, tiny: Path) -> Run:
    """Calls `adstilts evaluate` on the small targets."""
    return lambda *arguments: run("evaluate", *arguments, *COMMON)


def rows(out: str) -> dict[str, list[str]]:
    """The table's rows by their first cell (cells are at least two spaces apart)."""
    cells = (
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()
    )
    return {row[0]: row[1:] for row in cells if row}


def test_a_table_with_averages_and_a_line_for_every_language(evaluate: Run) -> None:
    code, out, err = evaluate("tiny-qa", "--with", "stack(squad, qa)")
    assert code == 0, err
    table = rows(out)
    assert out.startswith("tiny-qa, test, with qa-on-squad\n")
    assert table["language"] == ["examples", "f1", "exact_match"]
    assert list(table)[2:] == [
        *("en", "de", "ko", "sw", "average", "English", "without English", "transfer gap"),
        next(line for line in out.splitlines() if line.startswith("predictions: ")),
    ]
    assert table["English"] == table["en"][1:]
    others = sum(float(table[each][1]) for each in ("de", "ko", "sw")) / 3
    assert float(table["without English"][0]) == pytest.approx(others, abs=0.06)
    gap = float(table["en"][1]) - others
    assert float(table["transfer gap"][0]) == pytest.approx(gap, abs=0.11)
    told = [line for line in err.splitlines() if "examples," in line]
    assert [line.split(",")[0] for line in told] == ["en", "de", "ko", "sw"]
    assert told[0].startswith("en, qa-on-squad: f1 ")
    again = evaluate("tiny-qa", "--with", "stack(squad, qa)")
    assert again == (0, out, "")


def test_several_compositions_side_by_side(evaluate: Run) -> None:
    code, out, err = evaluate("tiny-qa", "--with", "qa", "--with", "qa-on-squad", "--langs", "ko")
    assert code == 0, err
    table = rows(out)
    assert table["language"] == ["examples", "qa", "qa-on-squad"]
    assert len(table["ko"]) == 3
    assert "English" not in table
    assert out.count("predictions: ") == 2


def test_json_has_everything_and_nothing_else_is_printed(evaluate: Run) -> None:
    code, out, err = evaluate("tiny-nli", "--with", "nli", "--langs", "en,de", "--json")
    assert (code, err) == (0, "")
    (found,) = json.loads(out)
    assert found["composition"] == "nli"
    assert found["metric"] == "accuracy"
    assert list(found["languages"]) == ["en", "de"]
    assert found["gap"]["accuracy"] == (
        found["english"]["accuracy"] - found["without_english"]["accuracy"]
    )


def test_languages_that_the_data_lacks_give_exit_code_3(evaluate: Run, tiny: Path) -> None:
    (tiny / "data/tiny-nli/test-ko.tsv").unlink()
    (tiny / "data/tiny-nli/test-sw.tsv").unlink()
    code, out, _ = evaluate("tiny-nli", "--with", "nli")
    assert code == 3
    assert "not evaluated, for want of data: ko, sw (no test data of tiny-nli.ko in" in out
    assert set(rows(out)) >= {"en", "de", "average"}
    code, out, err = evaluate("tiny-nli", "--with", "nli", "--json")
    assert (code, err) == (3, "")
    assert set(json.loads(out)[0]["missing"]) == {"ko", "sw"}


def test_without_labels_it_says_that_there_are_only_predictions(evaluate: Run, tiny: Path) -> None:
    for language in ("en", "ko"):
        write_data(tiny / "data", language, labels=False)
    code, out, err = evaluate("tiny-pos", "--with", "pos", "--langs", "en,de,ko")
    assert code == 0, err
    table = rows(out)
    assert "no labels: predictions only" in table["ko"]
    assert "English" not in table
    assert "ko, pos: no labels: predictions only (10 examples" in err
    code, out, _ = evaluate("tiny-pos", "--with", "pos", "--langs", "ko", "--out", "blind")
    assert code == 0
    assert "average" not in rows(out)


def test_a_folder_of_another_composition_is_refused(evaluate: Run, tiny: Path) -> None:
    base = ("tiny-nli", "--langs", "en", "--out", "out")
    assert evaluate(*base, "--with", "nli")[0] == 0
    before = (tiny / "out/nli/test-en.tsv").read_text()
    refused = evaluate(*base, "--with", "nli-lora")
    assert_one_line(refused, 2, "predictions of 'nli' lie in out", "--out", "--overwrite")
    assert (tiny / "out/nli/test-en.tsv").read_text() == before
    code, _, err = evaluate(*base, "--with", "nli-lora", "--overwrite")
    assert code == 0, err
    record = json.loads((tiny / "out/evaluation.json").read_text())
    assert record["composition"]["expression"] == "nli-lora"
    (tiny / "full").mkdir()
    (tiny / "full/notes.txt").write_text("mine")
    assert_one_line(
        evaluate("tiny-nli", "--with", "nli", "--out", "full"), 2, "full is not empty", "--out"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny-qa",), ("nothing to evaluate", "--with", "--suite")),
        ((), ("nothing to evaluate",)),
        (
            ("tidyqa", "--with", "qa"),
            ("no target task 'tidyqa'", "did you mean 'tiny-qa' or 'tydiqa'"),
        ),
        (("tiny-qa", "--with", "qa", "--langs", "xx"), ("no language 'xx'", "ISO 639")),
        (("tiny-qa", "--with", "qa", "--split", "tset"), ("no split", "did you mean 'test'?")),
        (("tiny-qa", "--with", "pos"), ("'pos' has a tagging head", "train-target tiny-qa")),
        (("tiny-qa", "--with", "stack(qa"), ("composition 'stack(qa', character 9",)),
        (("tiny-qa", "--with", "qa", "--precision", "fp8"), ("no precision 'fp8'",)),
        (("--suite", "xtreme"), ("--suite and --with-map go together",)),
        (("tiny-qa", "--suite", "xtreme", "--with-map", "x"), ("go together, without a task",)),
        (("--suite", "xtreme", "--with-map", "nowhere.yaml"), ("nowhere.yaml is not there",)),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    run: Run, tiny: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(run("evaluate", *arguments, "--data", "data"), 2, *words)


def test_ctrl_c_says_that_the_same_command_continues(
    evaluate: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store.save

    def interrupted(self: Store, *args: Any) -> Any:
        if args[2] == "ko":
            raise KeyboardInterrupt
        return kept(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", interrupted)
        result = evaluate("tiny-nli", "--with", "nli")
    assert_one_line(result, 130, "finished languages are kept", "the same command")
    code, out, err = evaluate("tiny-nli", "--with", "nli")
    assert code == 0
    assert [line.split(",")[0] for line in err.splitlines()] == ["ko", "sw"]
    assert set(rows(out)) >= {"en", "de", "ko", "sw"}


def test_a_suite_names_what_is_missing(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(suites.SUITES, "xtreme-r", {"qa": ("qa",), "structured": ("pos",)})
    monkeypatch.setattr(suites, "METRICS", {"qa": ("f1",), "pos": ("f1",)})
    (tiny / "runs.yaml").write_text("tiny-qa: stack(squad, qa)\n")
    base = ("evaluate", "--suite", "xtreme-r", "--with-map", "runs.yaml", *COMMON)
    code, out, err = run(*base)
    assert code == 3, err
    table = rows(out)
    assert table["xtreme-r"] == ["with", "languages", "score"]
    assert table["pos"] == ["0", "missing"]
    assert table["overall"] == [f"{table['qa'][-1]} in 4 of 8"]
    assert "not evaluated: pos: no composition given" in out
    (tiny / "runs.yaml").write_text("tiny-qa: stack(squad, qa)\ntiny-pos: pos\n")
    code, out, err = run(*base)
    assert code == 0, err
    table = rows(out)
    assert float(table["overall"][0]) == pytest.approx(
        (float(table["qa"][-1]) + float(table["pos"][-1])) / 2, abs=0.11
    )
    code, out, err = run(*base, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["overall"] == (found["categories"]["qa"] + found["categories"]["structured"]) / 2
    assert Path(found["folder"]).name == "xtreme-r"
    assert (Path(found["folder"]) / "qa" / "test-sw.json").is_file()
    assert (Path(found["folder"]) / "pos" / "evaluation.json").is_file()
