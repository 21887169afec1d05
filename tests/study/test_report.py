"""The report of a study, from made records: numbers, what is missing, and what is marked."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from adapter_stilts.display import p_text
from adapter_stilts.errors import UserError
from adapter_stilts.report.page import (
    LONG,
    PAGE,
    TEX,
    TEXT,
    latex,
    make_report,
    markdown,
    tex,
    write_report,
)
from adapter_stilts.report.tables import (
    UNEQUAL,
    Table,
    attention_rows,
    attention_table,
    matrix,
)
from adapter_stilts.study.draws import Best
from adapter_stilts.study.findings import (
    ANSWER,
    ARMS,
    CHECK,
    INPUT,
    RECOMMENDED,
    SENTENCE,
    THIRDS,
    Finding,
    arm_in_words,
    as_family,
    find,
    item_buckets,
    read_recommended,
    read_study,
    regrets,
    thirds,
)
from adapter_stilts.study.folder import read_results
from adapter_stilts.study.graph import Planned
from adapter_stilts.study.items import Seeds
from adapter_stilts.study.spec import ArmKind, ContrastSpec
from adapter_stilts.study.study_data import StudyData, complete_seeds
from cli_kit import assert_one_line, call_cli
from study_kit import LANGUAGES, write_run, write_study


def finding(path: Path, first: str, second: str, draws: int = 1000) -> Finding:
    data, _ = read_study(path)
    found = find(data, ContrastSpec(name="c", first=first, second=second), draws=draws)
    assert isinstance(found, Finding), found
    return found


def test_an_interval_is_that_of_twenty_lines_of_numpy(tmp_path: Path) -> None:
    """One cell: one target, one language, two arms with one seed."""
    path = write_study(tmp_path, items=200, seeds=1)
    found = finding(path, "multitask", "alone", 4000).fixed.languages["xnli"]["sw"]
    sides = []
    for arm in ("multitask", "alone"):
        name = f"items/{arm}-xnli-0-0/xnli/test-sw.tsv.items.parquet"
        sides.append(pq.read_table(tmp_path / "made" / name)["numerator"].to_numpy())
    difference = 100 * (sides[0] - sides[1])
    random = np.random.default_rng(123)
    means = [difference[random.integers(200, size=200)].mean() for _ in range(4000)]
    # The bootstrap's variance lacks a factor n / (n - 1).
    error = np.std(means) * np.sqrt(200 / 199)
    half = stats.t.ppf(0.975, 199) * error
    assert found.value == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx(
        (difference.mean() - half, difference.mean() + half), abs=0.06 * half
    )


def test_a_name_of_several_arms_is_the_one_that_english_dev_chooses(tmp_path: Path) -> None:
    found = finding(write_study(tmp_path), "singles", "fusion-full", 200)
    assert found.arms == (Best(("singles:squad", "singles:mnli")), "fusion-full")
    draws, best = found.draws, found.arms[0]
    assert isinstance(best, Best) and set(found.fixed.targets) == set(LANGUAGES)
    chosen = [draws.choose(best, place, draws.factors).mean() for place in range(len(LANGUAGES))]
    assert any(0 < share < 1 for share in chosen)
    # Both stages' seeds and the items are drawn; languages in the second interval alone.
    assert set(found.fixed.overall.noise) == {"items", "intermediate seeds", "target seeds"}
    assert set(found.drawn.overall.noise) - set(found.fixed.overall.noise) == {"languages"}
    assert set(found.fixed.without) == set(LANGUAGES)


def test_a_long_table_is_folded_in_markdown() -> None:
    rows = [(f"arm-{k}", float(k)) for k in range(LONG + 1)]
    long = markdown(Table("long", "Long", ("arm", "score"), rows, "A note."))
    assert f"<summary>{LONG + 1} rows</summary>\n\n| arm | score |" in long
    assert long.endswith("A note.\n\n</details>\n")
    assert "<details" not in markdown(Table("short", "Short", ("arm", "score"), rows[1:]))


def test_arms_are_shown_in_the_order_of_the_plan(tmp_path: Path) -> None:
    """Whatever order they were run in."""
    data, _ = read_study(write_study(tmp_path))
    assert [row[0] for row in matrix(data).rows] == list(data.arms), "no plan is known"
    planned = {
        each.run: Planned(each.stage, each.arm, each.target, each.method, tuple(each.intermediate))
        for each in reversed(data.results)
    }
    turned = StudyData(data.name, data.folder, data.results, planned=planned)
    assert [row[0] for row in matrix(turned).rows] == list(data.arms)[::-1]


@pytest.mark.whole
def test_the_answer_is_the_first_thing_said(tmp_path: Path) -> None:
    report = make_report(*read_study(write_study(tmp_path)), draws=200)
    assert "the best of 2 by English dev" in report.answers[0]
    assert "95 % interval" in report.answers[0]
    assert report.warnings == []
    names = [table.name for table in report.tables]
    assert names == [
        "matrix", "contrasts", "targets", "buckets", "languages", "cost", "attention", "regret"
    ]  # fmt: skip
    write_report(report, tmp_path / "out")
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    body = page[page.index("<main>") :]
    assert body.index(report.answers[0]) < 100
    for name in (
        "matrix.pdf",
        "forest-1.pdf",
        "cost-seconds.svg",
        "attention.pdf",
        TEXT,
        TEX,
        "matrix.csv",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 100, name
    assert (tmp_path / "out" / "matrix.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "out" / "matrix.csv").open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    data, _ = read_study(tmp_path / "made.yaml")
    assert float(first["xnli"]) == pytest.approx(data.score("singles:squad", "xnli"))


@pytest.mark.whole
def test_an_unfinished_study_says_what_is_missing(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    records = tmp_path / "made" / "results.jsonl"
    lines = records.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"run": "fusion-full-panx' not in line]
    records.write_text("".join([*kept, '{"run": "half\n']), encoding="utf-8")
    broken = "items/multitask-xnli-0-0/xnli/test-de.tsv.items.parquet"
    (tmp_path / "made" / broken).write_bytes(b"PAR1")
    report = make_report(*read_study(path), draws=200)
    said = "\n".join(report.warnings)
    assert "1 of 15" in said and re.search("Without panx: S against F", said)
    missing = next(table for table in report.tables if table.name == "missing")
    assert ("fusion-full", "panx", "not run yet") in missing.rows
    places = [row[0] for row in missing.rows]
    assert f"results.jsonl:{len(kept) + 1}" in places and broken in places


@pytest.mark.parametrize(("arm", "letter"), [("multitask", "M"), ("fusion-full", "F")])
def test_unequal_arms_are_marked_in_every_table(tmp_path: Path, arm: str, letter: str) -> None:
    path = write_study(tmp_path, seeds=1, unequal=arm)
    report = make_report(*read_study(path), draws=200)
    assert any(arm in line for line in report.warnings)
    for table in report.tables:
        assert f"{UNEQUAL} steps or rows" in table.note and arm in table.note, table.name
        if arm != "fusion-full" and table.name == "attention":
            continue
        marked = {str(row[0]) for row in table.rows if UNEQUAL in str(row[0])}
        assert marked and all(arm in each or letter in each for each in marked), table.name
        plain = {str(row[0]) for row in table.rows if UNEQUAL not in str(row[0])}
        assert not any(arm in each or letter in each.split() for each in plain), table.name


def test_a_script_is_a_bucket(tmp_path: Path) -> None:
    found = finding(write_study(tmp_path), "multitask", "fusion-full", 200)
    by = found.fixed.languages
    latin = [by["xnli"][lang].value for lang in ("en", "de", "sw")]
    expected = np.mean([np.mean(latin), by["xquad"]["en"].value, by["panx"]["en"].value])
    assert found.over(["en", "de", "sw"]).value == pytest.approx(expected)


def test_a_length_is_a_bucket(tmp_path: Path) -> None:
    """Of one target and two arms with one seed, thirds by hand."""
    path = write_study(tmp_path, items=60, seeds=1)
    data, _ = read_study(path)
    found = finding(path, "multitask", "alone", 2000)
    made = {(each.kind, each.name): each for each in item_buckets(data, found)}
    assert [third for kind, third in made if kind == INPUT] == list(THIRDS)
    sides = {}
    for arm in ("multitask", "alone"):
        for language in LANGUAGES["panx"]:
            name = f"items/{arm}-panx-0-0/panx/test-{language}.tsv.items.parquet"
            sides[arm, language] = pq.read_table(tmp_path / "made" / name)["numerator"].to_numpy()
    # Sentence k has length k: the longest third are the last twenty.
    last = [100 * (sides["multitask", x] - sides["alone", x])[40:] for x in LANGUAGES["panx"]]
    longest = made[SENTENCE, THIRDS[2]]
    assert longest.items == 40 and longest.languages == ("en", "ka")
    assert longest.difference.value == pytest.approx(np.mean(last))
    error = np.sqrt(sum(np.var(each, ddof=1) / 20 for each in last)) / 2
    assert longest.difference.error == pytest.approx(error, rel=0.1)
    # In parallel test sets an item stays in its own third in every language.
    first = made[INPUT, THIRDS[0]]
    assert first.items == 20 * (len(LANGUAGES["xnli"]) + len(LANGUAGES["xquad"]))
    answers = [each for kind, each in made.items() if kind[0] == ANSWER]
    assert {each.languages for each in answers} == {tuple(sorted(LANGUAGES["xquad"]))}
    assert sum(each.items for each in answers) == 60 * len(LANGUAGES["xquad"])


def test_a_templated_check_is_a_bucket(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    checks, place = ("place", "negation"), tmp_path / "made"
    records = place / "results.jsonl"
    records.write_text(records.read_text(encoding="utf-8").replace('"panx"', '"qa-checks"').replace(
        '"f1"', '"exact_match"'), encoding="utf-8")  # fmt: skip
    sides = {}
    for arm in ("multitask", "alone"):
        folder = place / "items" / f"{arm}-panx-0-0"
        (folder / "panx").rename(folder / "qa-checks")
        for file in sorted((folder / "qa-checks").glob("test-*")):
            table = pq.read_table(file)
            ids = [f"{checks[k % 2]}-{k:02}" for k in range(len(table))]
            both = {"id": pa.array(ids), "cluster": pa.array(ids)}
            for name, column in both.items():
                table = table.set_column(table.column_names.index(name), name, column)
            pq.write_table(table, file)
            sides[arm, file.name] = table["numerator"].to_numpy()
    data, _ = read_study(path)
    buckets = item_buckets(data, finding(path, "multitask", "alone"))
    made = {each.name: each for each in buckets if each.kind == CHECK}
    assert set(made) == set(checks)
    for number, check in enumerate(checks):
        files = {name for _, name in sides}
        differences = [
            100 * (sides["multitask", name] - sides["alone", name])[number::2] for name in files
        ]
        assert made[check].kind == CHECK and made[check].items == 60
        assert made[check].difference.value == pytest.approx(np.mean(differences))


def test_lengths_that_are_alike_stay_together() -> None:
    assert thirds(np.array([3.0, 3.0, 3.0, 3.0])).tolist() == [0, 0, 0, 0]
    assert thirds(np.array([1.0, 1.0, 2.0, 9.0, 9.0, 9.0])).tolist() == [0, 0, 1, 1, 1, 1]
    spread = thirds(np.arange(60.0))
    assert [int((spread == k).sum()) for k in range(3)] == [20, 20, 20]


def test_older_files_have_no_lengths_and_no_such_buckets(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1, old=True)
    data, _ = read_study(path)
    assert list(item_buckets(data, finding(path, "multitask", "alone", 200))) == []
    report = make_report(*read_study(path), draws=200)
    (table,) = (each for each in report.tables if each.name == "buckets")
    assert {row[1] for row in table.rows} == {"script", "family", "pre-training data"}
    names = ("S against F", "S against M", "alone against F")
    assert report.warnings == [f"One seed, whose luck no interval shows: {'; '.join(names)}."]


def test_what_a_fusion_listens_to(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    damaged = tmp_path / "made/items/fusion-full-xnli-0-0/attention.json"
    damaged.write_text("{", encoding="utf-8")
    data, _ = read_study(path)
    rows = [dict(zip(attention_table(data).columns, r, strict=True)) for r in
            attention_table(data).rows]  # fmt: skip
    assert {(row["arm"], row["target"]) for row in rows} == {("fusion-full", t) for t in LANGUAGES}
    squad = next(row for row in rows if row["source"] == "squad" and row["target"] == "panx")
    assert squad["weight"] == "0.50" and squad["entropy"] == "0.80"
    assert (squad["lower layers"], squad["upper layers"]) == ("0.19", "0.81")
    heat = attention_rows(data)
    assert len(heat) == 3 * 12 * 2
    assert [each.place for each in data.damaged] == ["items/fusion-full-xnli-0-0/attention.json"]


def test_seeds_that_are_not_crossed() -> None:
    def seeds(*pairs: tuple[int, int]) -> list[Seeds]:
        return [new for _, new in complete_seeds([Seeds(*each) for each in pairs])]

    assert seeds((0, 0), (0, 1), (1, 0), (1, 1)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert seeds((0, 0), (1, 1), (2, 7)) == [(0, 0), (1, 0), (2, 0)]  # drawn in pairs
    assert seeds((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_texts_are_escaped(tmp_path: Path) -> None:
    table = Table("t", "T", ("a_b", "score"), [("x|y & <b>", 1.25), ("none", None)])
    assert "x\\|y" in markdown(table) and "| none | – |" in markdown(table)
    assert "x\\textbar{}y \\& \\textless{}b\\textgreater{}" in latex(table)
    assert "a\\_b" in latex(table)
    assert p_text(0.00049) == "<0.001" and p_text(0.0005) == "0.001" and p_text(1) == "1.000"


@pytest.mark.whole
def test_latex_is_balanced_and_escaped(tmp_path: Path) -> None:
    """What LaTeX would stop at: signs that are commands, groups that are not closed."""
    study = read_study(write_study(tmp_path, unequal="fusion-full"))
    written = tex(make_report(*study, draws=200).tables)
    plain = re.sub(r"\\[&%$#_{}\\]", "", written)
    assert plain.count("{") == plain.count("}")
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", written) for word in ("begin", "end"))
    assert begun == ended == ["longtable"] * 8
    body = re.sub(r"^%.*$", "", plain, flags=re.MULTILINE)
    assert not re.search(r"[%#_~^]", body) and body.count("$") % 2 == 0
    assert not set("†–±").intersection(written)
    for block in written.split("\\begin{longtable}{")[1:]:
        columns = block.index("}")
        rows = [line for line in block.splitlines() if re.search(r"(?<!\\)&", line)]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)


SIGNS = '[≥] → a−b ± 5 % <x|y> "q" {z} \\\\ ~^_#$& α…–—† * ñßđ'
OTHERS = "Привет مرحبا 你好 😀 Ħ ạ"


def test_latex_has_no_character_that_pdflatex_stops_at(tmp_path: Path) -> None:
    def made(text: str) -> str:
        return tex([Table("t", text, (text, "n"), [(text, 1.0), ("[b]", None), ("*", 2.0)], text)])

    known, others = made(SIGNS), made(f"{SIGNS} {OTHERS}")
    assert "othercharacter" not in known and {*re.sub("[ -~\n]", "", known)} == {*"ñßđ"}
    assert "$\\geq$" in known and "$\\rightarrow$" in known and "\\\\\n{[}b{]} &" in known
    first, *rest = others.splitlines()
    assert "T1" in first and "XeLaTeX" in rest[0] and "П р и" in rest[0]
    plain = re.sub(r"\\othercharacter\{.\}\{[0-9A-F]+\}", "", others.partition("\\fi}\n\\fi")[2])
    assert {*re.sub("[ -~\n]", "", plain)} == {*"ñßđ"}
    assert "\\othercharacter{😀}{1F600}" in others
    if (program := shutil.which("pdflatex")) is None:
        return
    packages = "\\usepackage[T1]{fontenc}\\usepackage{booktabs,longtable}"
    for text in (known, others):
        whole = f"\\documentclass{{article}}{packages}\\begin{{document}}{text}\\end{{document}}"
        (tmp_path / "a.tex").write_text(whole, encoding="utf-8")
        asked = [program, "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
        said = subprocess.run(asked, cwd=tmp_path, capture_output=True, check=False)
        assert said.returncode == 0, said.stdout[-2000:]


def test_mistakes_are_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, seeds=1)

    def report(*more: str) -> tuple[int, str, str]:
        return call_cli(monkeypatch, capsys, "study", "report", *more)

    assert_one_line(report(str(tmp_path / "no.yaml")), 2, "no.yaml")
    assert_one_line(report(str(tmp_path)), 2, f"{tmp_path} is a folder")
    (tmp_path / "file").write_text("")
    for place in ("file", "file/x"):
        assert_one_line(report(str(path), "--to", str(tmp_path / place)), 2, "another --to")
    assert_one_line(report(str(path), "--out", str(tmp_path / "x")), 2, "results.jsonl", "--out")
    assert_one_line(report(str(path), "--draws", "10"), 2, "--draws")
    whole = path.read_text(encoding="utf-8")
    for old, new, words in (
        ("second: multitask,", "", ("made.yaml", "line 11", "second")),
        ("second: multitask", "second: multitak", ("line 11", "multitak", "multitask")),
        ("contrasts:", "contrasts: [", ("made.yaml", "YAML")),
        ("first: alone", "first: singles:qqp", ("line 12", "singles:qqp")),
    ):
        path.write_text(whole.replace(old, new), encoding="utf-8")
        assert_one_line(report(str(path)), 2, *words)
    path.write_text(whole.partition("contrasts:")[0], encoding="utf-8")
    assert_one_line(report(str(path)), 2, "contrasts")


def test_a_record_of_another_run_and_dev_that_is_gone_are_damage(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    first, second = list(read_results(tmp_path / "made" / "results.jsonl").runs.values())[:2]
    runs = {
        first.run: ["target", "alone", first.target],
        second.run: ["target", second.arm, second.target],
    }
    (tmp_path / "made" / "plan.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    gone = tmp_path / "made" / second.items / second.target / "dev-en.select.items.parquet"
    gone.unlink()
    data, _ = read_study(path)
    assert [each.run for each in data.current] == [second.run]
    assert first.run[:8] in data.damaged[0].place and "'alone'" in data.damaged[0].why
    assert data.items(second, second.target, "dev") == {}
    assert data.damaged[1].place == str(gone.relative_to(tmp_path / "made"))


def test_what_is_missing_is_told_by_the_plan(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    records = read_results(tmp_path / "made" / "results.jsonl").runs.values()
    runs = {each.run: ["target", each.arm, each.target] for each in records}
    runs |= {f"left{k}": ["rate", "multitask", "xquad"] for k in range(3)}
    runs["module"] = ["intermediate", "multitask", ""]
    gone = next(name for name, each in runs.items() if each[1:] == ["alone", "panx"])
    del runs[gone]
    place = tmp_path / "made" / "plan.json"
    place.write_text(json.dumps({"study": "made", "runs": runs}), encoding="utf-8")
    data, contrasts = read_study(path)
    said = make_report(data, contrasts, draws=200).warnings
    missing = "multitask for xquad (3), the module multitask (1)"
    assert f"Missing: 4 of {len(runs)} runs: {missing}." in said
    assert any("1 record of runs that are not in the last plan" in line for line in said)
    assert not data.on("alone", "panx") and data.on("alone", "xnli")
    place.write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"plan\.json"):
        read_study(path)


def test_arms_that_were_never_run_are_missing(tmp_path: Path) -> None:
    """What the plan has no run for is not missed: no arm learns from Tatoeba."""
    path = write_study(tmp_path, seeds=1)
    records = read_results(tmp_path / "made" / "results.jsonl").runs.values()
    runs = {
        each.run: ["target", each.arm, each.target, each.method, "+".join(each.intermediate)]
        for each in records
    }
    runs |= {
        "a": ["target", "alone-longer", "xnli", "adapter", ""],
        "b": ["composition", "alone", "tatoeba", "adapter", ""],
        "c": ["rate", "alone-longer", "panx", "adapter", ""],
        # The head of one task fits; the others' cells are not planned.
        "d": ["target", "as-is", "xnli", "adapter", "mnli"],
    }
    place = tmp_path / "made" / "plan.json"
    place.write_text(json.dumps({"study": "made", "runs": runs}), encoding="utf-8")
    report = make_report(*read_study(path), draws=200)
    (table,) = (each for each in report.tables if each.name == "missing")
    never = [("alone-longer", "xnli"), ("alone", "tatoeba"), ("as-is:mnli", "xnli")]
    assert table.rows == [(*each, "not run yet") for each in never]
    assert "Unfinished: the matrix lacks 3 of 18 cells." in report.warnings


def test_items_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    write_run(tmp_path / "other", "alone", "xnli", 0, 0, 30)
    place = tmp_path / "made" / "items" / "alone-xnli-0-0" / "xnli"
    item = place / "test-de.tsv.items.parquet"
    item.unlink()
    item.symlink_to(tmp_path / "other/items/alone-xnli-0-0/xnli/test-de.tsv.items.parquet")
    data, _ = read_study(path)
    run = data.on("alone", "xnli")[Seeds(0, 0)]
    assert "de" not in data.items(run, "xnli", "test")
    assert "outside" in data.damaged[0].why


def test_a_target_that_is_tested_on_dev_is_compared_like_others(tmp_path: Path) -> None:
    """Its items lie in files named after dev, beside the English ones that chose."""
    path = write_study(tmp_path, seeds=1)
    before = finding(path, "singles", "fusion-full", 200).fixed.targets
    for item in (tmp_path / "made/items").glob("*/panx/test-*"):
        item.rename(item.with_name(item.name.replace("test-", "dev-")))
    found = finding(path, "singles", "fusion-full", 200)
    assert not found.without
    assert found.fixed.targets["panx"].value == pytest.approx(before["panx"].value)


def test_the_best_of_all_singles_is_not_that_of_those_that_are_done(tmp_path: Path) -> None:
    """Where a single is missing on most targets yet, only the others with all of them count."""
    path = write_study(tmp_path, seeds=1)
    results = tmp_path / "made/results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    gone = ('"singles-squad-xquad-', '"singles-squad-panx-')
    results.write_text("".join(each for each in lines if not any(name in each for name in gone)))
    found = finding(path, "singles", "fusion-full", 200)
    assert isinstance(found.arms[0], Best)
    assert set(found.arms[0].of) == {"singles:squad", "singles:mnli"}
    assert set(found.fixed.targets) == {"xnli"}
    assert set(found.without) == {"xquad", "panx"}


def test_a_rate_at_an_end_of_those_tried_is_said(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    results = tmp_path / "made/results.jsonl"
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    for each in runs:
        each["lr"] = 0.003 if each["arm"] == "alone" else 0.001
    tried = [
        {**runs[0], "run": f"r{arm}{target}{rate}", "stage": "rate", "arm": arm, "target": target,
         "lr": rate, "scores": {}, "items": ""}
        for arm in ("alone", "fusion-full") for target in ("xnli", "panx")
        for rate in (0.001, 0.003, 0.01)
    ]  # fmt: skip
    results.write_text("".join(f"{json.dumps(each)}\n" for each in [*tried, *runs]))
    data, _ = read_study(path)
    (said,) = (note for note in data.notes if "rate" in note)
    assert "0.001 of fusion-full on xnli, panx." in said
    assert "alone" not in said
    assert "multitask" not in said, "nothing else was tried"


def test_what_rules_lose_is_over_all_targets_on_which_english_dev_can_choose(
    tmp_path: Path,
) -> None:
    """An arm that one target lacks leaves that target in; it is no rule, but may be the best."""
    path = write_study(tmp_path, seeds=1)
    results = tmp_path / "made/results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(each for each in lines if '"fusion-full-panx-' not in each))
    report = make_report(*read_study(path), draws=200)
    (table,) = (each for each in report.tables if each.name == "regret")
    assert table.note.startswith("Over xnli, xquad, panx,")
    rules = {str(row[0]) for row in table.rows}
    assert "always alone" in rules and "always fusion-full" not in rules
    assert any("singles" in rule or "best" in rule for rule in rules - {"always alone"})


def test_following_recommend_is_a_rule_where_it_is_known_of_all_targets(tmp_path: Path) -> None:
    path, said = write_study(tmp_path, seeds=1), tmp_path / "said.json"
    best = {"xnli": "mnli", "xquad": "squad", "panx": "mnli"}

    def lines(told: dict[str, str]) -> str:
        modules = {t: [{"task": task, "method": "adapter"}] for t, task in told.items()}
        each = [{"target": t, "modules": found} for t, found in modules.items()]
        return "\n".join(json.dumps(one, indent=1) for one in each)

    said.write_text(lines(best))
    data, specs = read_study(path)
    found = read_recommended(said, data)
    assert found == {t: f"singles:{task}" for t, task in best.items()}
    singles = data.arms_named("singles")
    lost = regrets(data, singles, recommended=found, draws=100).rules[RECOMMENDED]
    score = {(a, t): data.score(a, t) or 0.0 for a in data.arms for t in data.targets}
    expected = [max(score[a, t] for a in data.arms) - score[found[t], t] for t in data.targets]
    assert lost.value == pytest.approx(np.mean(expected))
    del best["panx"]
    said.write_text(lines(best))
    assert RECOMMENDED not in regrets(data, singles, recommended=found | {"panx": ""}).rules
    told = read_recommended(said, data)
    warnings = make_report(data, specs, recommended=told, draws=100).warnings
    assert any("xnli, xquad alone" in line for line in warnings)
    for wrong in ('{"target": "xnli"}', "null", "[" * 99_999):
        said.write_text(wrong)
        with pytest.raises(UserError, match=r"said\.json"):
            read_recommended(said, data)


def test_costs_are_of_the_targets_that_most_arms_have_and_of_one_machine(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    results = tmp_path / "made/results.jsonl"
    lines = [json.loads(each) for each in results.read_text().splitlines()]
    own = next(each for each in lines if each["arm"] == "alone" and each["target"] == "xnli")
    lines.append({**own, "run": "as", "arm": "as-is", "intermediate": ["mnli"]})
    own |= {"machine": "a GPU", "device": "cuda", "seconds": 1.0}
    results.write_text("".join(json.dumps(each) + "\n" for each in lines))
    (table,) = (t for t in make_report(*read_study(path), draws=200).tables if t.name == "cost")
    rows = {row["arm"]: row for row in table.records()}
    assert rows["fusion-full"]["seconds"] is not None and rows["fusion-full"]["score"] is not None
    assert rows["alone"]["score"] is not None and rows["alone"]["seconds"] is None
    assert rows["as-is:mnli"]["score"] is None
    assert "two cores cpu, without 1 run elsewhere" in table.note


def test_primary_contrasts_are_corrected_for_being_several(tmp_path: Path) -> None:
    data, specs = read_study(write_study(tmp_path, seeds=1))
    found = [each for spec in specs if isinstance(each := find(data, spec, draws=200), Finding)]
    one, two, secondary = as_family(found, specs)
    low, high = sorted(each.fixed.overall.p for each in (one, two))
    assert sorted(each.adjusted[0] for each in (one, two)) == pytest.approx(
        [min(1, 2 * low), max(min(1, 2 * low), high)]
    )
    assert secondary.adjusted == (secondary.fixed.overall.p, secondary.equivalence)
    # One that is declared and cannot be answered yet counts.
    more = ContrastSpec(name="more", first="a", second="b", primary=True)
    assert len(as_family(found, [*specs, more])[0].family) == 3
    # An interval without 0 is no answer where the corrected p is none.
    overall = replace(one.fixed.overall, value=1.3, error=0.62, df=40.0, low=0.05, high=2.55)
    almost = replace(one, fixed=replace(one.fixed, overall=overall))
    assert overall.p < 0.05 and "is better than" in replace(almost, family={}).answer
    beside = replace(almost, family={"other": (0.5, 1.0)})
    assert "stays open" in beside.answer and f"{2 * overall.p:.3f}" in beside.answer


def test_every_arm_has_words_for_a_reader_who_has_not_seen_the_study() -> None:
    assert set(ARMS) == set(get_args(ArmKind))
    assert arm_in_words(Best(("singles:squad", "singles:mnli"))) == "the best of 2 by English dev"
    assert arm_in_words("as-is:squad-v2") == "squad-v2 as it is"
    assert arm_in_words("alone lang:en") == "no intermediate task (lang:en)"
    assert arm_in_words("alone from de [lora]") == "no intermediate task (from de, lora)"
