"""What a report says in words: no more than its intervals carry, whatever shape a study has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapter_stilts.report.page import Report, make_report, tex, text
from adapter_stilts.report.tables import UNEQUAL, attention_table
from adapter_stilts.study.compare import Comparison
from adapter_stilts.study.contrast import Contrast
from adapter_stilts.study.draws import Estimate
from adapter_stilts.study.findings import Finding, arm_in_words, find, read_study
from adapter_stilts.study.folder import RESULTS
from adapter_stilts.study.spec import ContrastSpec
from study_kit import LANGUAGES, write_study

Lines = list[dict[str, Any]]
MODULE, NONE = arm_in_words("multitask"), arm_in_words("alone")


def estimate(value: float, error: float, df: float = 184.0) -> Estimate:
    bare = Estimate(value, error, df, 0.0, 0.0, 0.95, {})
    low, high = bare.interval(0.95)
    return replace(bare, low=low, high=high)


WITHIN = estimate(0.04, 0.575)
"""Less than a point by two one-sided tests at 5 %, though its interval of 95 % reaches beyond."""


def change_lines(folder: Path, change: Callable[[Lines], Lines]) -> None:
    path = folder / "made" / RESULTS
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(f"{json.dumps(each)}\n" for each in change(lines)), encoding="utf-8")


def report_of(path: Path, **options: Any) -> Report:
    return make_report(*read_study(path), draws=100, **options)


def finding(path: Path, first: str, second: str) -> Finding:
    data, _ = read_study(path)
    found = find(data, ContrastSpec(name="c", first=first, second=second), draws=100)
    assert isinstance(found, Finding), found
    return found


def with_overall(found: Finding, overall: Estimate) -> Finding:
    return replace(found, fixed=replace(found.fixed, overall=overall))


def test_no_difference_is_said_with_the_interval_of_its_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WITHIN.low < -1 and WITHIN.high > 1
    path = write_study(tmp_path, seeds=1)
    found = with_overall(finding(path, "multitask", "alone"), WITHIN)
    said = "(+0.0 points, 90 % interval -0.9 to +0.99, p of a point or more 0.048)."
    assert found.answer.endswith(
        f"no difference of 1 point or more between {MODULE} and {NONE} {said}"
    )
    assert "95 %" not in found.answer
    monkeypatch.setattr("adapter_stilts.report.page.find", lambda *_, **__: found)
    report = report_of(path)
    for written in (text(report), tex(report.tables, report.answers)):
        assert said in written
    (table,) = (each for each in report.tables if each.name == "contrasts")
    assert "interval of 90 %" in table.note


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_of_less_than_a_point_is_both(sign: int, tmp_path: Path) -> None:
    small = estimate(sign * 0.5, 0.1)
    found = with_overall(finding(write_study(tmp_path, seeds=1), "multitask", "alone"), small)
    better, worse = (MODULE, NONE)[::sign]
    assert (
        f"{better} is better than {worse} by 0.5 points (95 % interval 0.3 to 0.7)" in found.answer
    )
    within = (
        "the difference is less than 1 point (90 % interval +0.3 to +0.7, p of a point or more <0"
    )
    assert within in found.answer


def comparison(overall: Estimate) -> Comparison:
    return Comparison("A", "B", "test", 100, {}, Contrast(overall, {}, {}, {}, {}))


def test_compare_says_which_is_better_by_an_interval_of_that_sign() -> None:
    assert comparison(estimate(-5.0, 1.0)).answer == (
        "B is better than A by 5.0 points (95 % interval +3.0 to +7.0)"
    )
    assert comparison(estimate(5.0, 1.0)).answer == (
        "A is better than B by 5.0 points (95 % interval +3.0 to +7.0)"
    )
    assert comparison(WITHIN).answer == (
        "A and B are alike, within 1 point (+0.0 points, 90 % interval -0.9 to +0.99, p of a "
        "point or more 0.048)"
    )
    assert comparison(estimate(-0.5, 0.1)).answer.startswith(
        "B is better than A by 0.5 points (95 % interval +0.3 to +0.7), though by less than 1 point"
    )
    assert "not told apart" in comparison(estimate(1.0, 1.0)).answer


def test_a_bound_near_zero_is_on_its_side() -> None:
    """`0.0 to 2.0` would leave open whether zero is inside."""
    almost = estimate(1.0, 0.5)
    inside, outside = replace(almost, low=-0.02), replace(almost, low=0.02)
    assert "interval -0.02 to +2.0" in comparison(inside).answer
    assert "interval +0.02 to +2.0" in comparison(outside).answer


def test_two_choices_of_english_dev_are_told_apart(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    change_lines(
        tmp_path,
        lambda lines: [
            {**each, "run": f"{each['run']}-{method}", "method": method}
            for each in lines if each["arm"] == "singles" for method in ("bottleneck", "lora")
        ],
    )  # fmt: skip
    found = finding(path, "singles [lora]", "singles [bottleneck]")
    names = [f"the best of 2 by English dev (singles [{each}])" for each in ("lora", "bottleneck")]
    assert list(found.names) == names
    assert all(name in found.answer for name in names)


def test_attention_is_the_mean_over_seeds_whose_modules_have_other_names(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=2)
    for place in (tmp_path / "made/items").glob("fusion-full-*-1-*/attention.json"):
        written = place.read_text(encoding="utf-8")
        place.write_text(
            written.replace('"squad"', '"squad-s1"').replace('"mnli"', '"mnli-s1"'), "utf-8"
        )
    rows = attention_table(read_study(path)[0]).records()
    assert {row["source"] for row in rows} == {"squad", "mnli"}
    assert {row["weight"] for row in rows} == {"0.50"}


def test_an_arm_of_one_seed_is_named_where_the_other_has_several(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=2)
    assert report_of(path).warnings == []
    change_lines(
        tmp_path,
        lambda lines: [
            each for each in lines if each["arm"] != "alone" or each["run"].endswith("-0-0")
        ],
    )
    luck = "whose luck no interval shows"
    assert report_of(path).warnings == [f"One seed of {NONE}, {luck}: alone against F."]
    change_lines(
        tmp_path,
        lambda lines: [
            each for each in lines
            if not each["run"].startswith("multitask-xnli") or each["run"].endswith("-0-0")
        ],
    )  # fmt: skip
    assert f"One seed of {MODULE} on xnli, {luck}: S against M." in report_of(path).warnings


def test_runs_that_no_contrast_counts_are_named(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=2)
    change_lines(
        tmp_path, lambda lines: [each for each in lines if each["run"] != "multitask-xnli-1-1"]
    )
    (said,) = report_of(path).warnings
    assert said.endswith("are missing: 1 of 3 runs of multitask on xnli.")


def test_one_language_cannot_be_drawn_and_one_seed_neither(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)

    def english(lines: Lines) -> Lines:
        for each in lines:
            each["scores"] = {t: {"en": by["en"]} for t, by in each["scores"].items()}
        return [each for each in lines if each["target"] == "xquad"]

    change_lines(tmp_path, english)
    for item in (tmp_path / "made/items").rglob("test-*"):
        if "-en." not in item.name:
            item.unlink()
    report = report_of(path)
    assert all(each.startswith("Over 1 target and 1 language, ") for each in report.answers)
    assert report.about == (
        "5 runs of 5 arms on 1 target; 100 draws of items; what English dev chooses is chosen in "
        "every draw."
    )
    (table,) = (each for each in report.tables if each.name == "contrasts")
    assert {row[1] for row in table.rows} == {"languages fixed"}


def test_a_language_without_items_has_no_part(tmp_path: Path) -> None:
    """Its score of nothing would be that of both arms, and pull means towards no difference."""
    path = write_study(tmp_path, seeds=1)
    before = finding(path, "multitask", "alone").fixed.languages["xnli"]
    for item in (tmp_path / "made/items").rglob("test-de.tsv.items.parquet"):
        pq.write_table(pq.read_table(item).slice(0, 0), item)

    def nothing(lines: Lines) -> Lines:
        for each in lines:
            for by in each["scores"].values():
                by |= {"de": dict.fromkeys(by["de"], 0.0)} if "de" in by else {}
        return lines

    change_lines(tmp_path, nothing)
    found = finding(path, "multitask", "alone").fixed
    others = [name for name in LANGUAGES["xnli"] if name != "de"]
    assert list(found.languages["xnli"]) == others
    assert found.targets["xnli"].value == pytest.approx(
        sum(before[name].value for name in others) / len(others)
    )


def test_without_any_contrast_nothing_was_drawn(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    change_lines(
        tmp_path, lambda lines: [each for each in lines if each["arm"] in ("multitask", "alone")]
    )
    report = report_of(path)
    assert report.answers == ["No contrast can be answered yet."]
    assert report.about == "6 runs of 2 arms on 3 targets."


def test_arms_of_unequal_budgets_are_named_in_one_order(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    change_lines(tmp_path, lambda lines: [{**each, "unequal": True} for each in lines])
    every = "alone, fusion-full, multitask, singles:mnli, singles:squad"
    assert all(
        table.note.endswith(f"{UNEQUAL} steps or rows are not those of the other arms: {every}.")
        for table in report_of(path).tables
    )


def test_why_it_is_not_told_what_recommend_loses(tmp_path: Path) -> None:
    path = write_study(tmp_path, seeds=1)
    told = dict.fromkeys(LANGUAGES, "singles:mnli")
    assert report_of(path, recommended=told).warnings == report_of(path).warnings
    del told["panx"]
    last = report_of(path, recommended=told).warnings[-1]
    assert last.endswith("it is known of xnli, xquad alone, not of panx.")
    change_lines(
        tmp_path, lambda lines: [each for each in lines if each["intermediate"] != ["squad"]]
    )
    last = report_of(path, recommended=told).warnings[-1]
    assert last.endswith("no target has arms of a contrast among which English dev chooses.")
