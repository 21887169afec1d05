"""Pages of results are what their scripts make of the committed records, to the letter."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("recipes_page", []),
        ("memory_page", []),
        ("fusion_rate_page", []),
        ("checkpoints", ["--page"]),
        ("unfreezing", ["--page"]),
        ("recommend", ["--page"]),
        ("train_speed", ["--page"]),
        ("search_memory", ["--page"]),
        ("fusion_cost", ["--page"]),
        ("eval_speed", ["--page"]),
        ("serve_memory", ["--page"]),
    ],
)
def test_a_page_is_made_of_its_records(
    name: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / f"{name.removesuffix('_page')}.md"
    monkeypatch.setattr(sys, "argv", ["page", *options, "--out", str(made)])
    importlib.import_module(name).main()
    assert made.read_bytes() == (RESULTS / made.name).read_bytes()


def test_the_page_of_copies_of_xlmr_large_is_made_of_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "serve_memory_large.md"
    options = ["--page", "--trunk", "large", "--out", str(made)]
    monkeypatch.setattr(sys, "argv", ["page", *options])
    importlib.import_module("serve_memory").main()
    assert made.read_bytes() == (RESULTS / made.name).read_bytes()


def test_the_page_of_the_zoo_and_the_table_of_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, readme = tmp_path / "zoo.md", tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", readme)
    monkeypatch.setattr(sys, "argv", ["page", "--out", str(made), "--readme", str(readme)])
    importlib.import_module("shipped_zoo_page").main()
    assert made.read_bytes() == (RESULTS / "zoo.md").read_bytes()
    assert readme.read_bytes() == (ROOT / "README.md").read_bytes()


def test_make_bench_makes_every_page() -> None:
    listed = (RESULTS / "index.md").read_text(encoding="utf-8")
    _, _, after = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nbench:")
    bench = after.partition("\n\n")[0]
    scripts = re.findall(r"`(benchmarks/\w+\.py)`", listed)
    assert len(scripts) > 15
    assert [each for each in scripts if each not in bench] == []


def test_the_answer_of_readme_is_that_of_the_study() -> None:
    """The study's page takes a minute to make; its words are compared."""
    page = (RESULTS / "embedded_xtreme_r.md").read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = r"is better than [^.]+? by ([0-9.]+ points) (\(95 % interval [^)]*\))"
    answers = re.findall(said, page)
    open_ = re.findall(r"cannot be told apart (\([^)]*\))", page)
    equal = re.findall(r"no difference of 1 point or more between .* (\([^)]*\))\.", page)
    weak = re.findall(
        r"open: ([0-9.]+ points) (\([^)]*\)), but (p is [0-9.]+ when corrected for) 2 primary", page
    )
    assert len(answers) + len(open_) + len(equal) + len(weak) == 6
    for points, interval, p in weak:
        assert f"It is {points} above" in readme and f"{interval}, but {p} two" in readme
    for points, interval in answers:
        assert f"{points} better than" in readme
        assert interval in readme
    assert all(interval in readme for interval in open_)
    assert all(f"less than a point apart {interval}" in readme for interval in equal)
    losses = {
        "what `recommend` puts first": "`recommend`'s first loses {} points ({} to {})",
        "always singles:squad": "always SQuAD {} ({} to {})",
        "the best of 9 by English dev": "dev's best {} ({} to {})",
    }
    for rule, told in losses.items():
        (lost,) = re.findall(rf"\| {rule} \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|", page)
        assert told.format(*lost) in readme
    row = r"\| best single or fusion(?: \(primary\))? \| (?:xnli|panx|without panx)"
    rows = re.findall(row + r" \| (-?[0-9.]+)" * 3 + r" \|", page)
    assert len(rows) == 3
    for difference, low, high in rows:
        assert f"{difference} points" in readme
        assert f"{low} to {high})" in readme
    (runs,) = re.findall(r"opens offline\. (\d+) runs;", page)
    ((missing, planned),) = re.findall(r"^Missing: (\d+) of (\d+) runs: ", page, re.MULTILINE)
    assert int(runs) + int(missing) == int(planned) and "Unfinished: " not in page
    assert f"{runs} of {planned} runs of the [study]" in readme


def test_what_modules_brought_is_what_the_study_measured() -> None:
    page = (RESULTS / "embedded_xtreme_r.md").read_text(encoding="utf-8")
    (head,) = re.findall(r"^\| arm \| (xnli .*) \|$", page, re.MULTILINE)
    matrix = {
        (name, target): cell
        for name, cells in re.findall(r"^\| singles:(\S+) \| ([^a-z]*) \|$", page, re.MULTILINE)
        if len(cells.split(" | ")) == len(head.split(" | "))
        for target, cell in zip(head.split(" | "), cells.split(" | "), strict=True)
    }
    lines = (RESULTS / "records" / "recommend.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        for name, score in row["scores"].items():
            assert matrix[name, row["target"]] == f"{score:.1f}", (name, row["target"])


def test_the_demo_says_what_its_module_reaches() -> None:
    lines = (RESULTS / "records" / "shipped_scores.jsonl").read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in map(json.loads, lines) if row["target"] == "xquad")
    scores = {lang: each["score"] for lang, each in row["languages"].items()}
    english = scores.pop("en")
    said = f"F1 is {english:.0f} in English and {min(scores.values()):.0f} to "
    assert said + f"{max(scores.values()):.0f} in nine others" in (
        ROOT / "examples" / "demo.py"
    ).read_text(encoding="utf-8")


def test_the_memory_of_readme_is_that_of_its_page() -> None:
    page = (RESULTS / "memory.md").read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = r"^## 8 x 128 tokens, (\w+), cpu$.*?(1/[0-9.]+) by default, (1/[0-9.]+) with `--activ"
    parts = {each[0]: each[1:] for each in re.findall(said, page, re.MULTILINE | re.DOTALL)}
    default, recomputed = parts["fp32"]
    full, adapters = (
        re.findall(rf"^\| {kept} \|.* ([0-9,]+) \|$", page, re.MULTILINE)[-1]
        for kept in ("full fine-tuning, AdamW", "bottleneck adapter")
    )
    assert f"{adapters} MB of disk, not {full}" in readme
    on_a_gpu = (
        rf"^## 32 x 384 tokens, bf16, cuda$.*?{said.partition('.*?')[2]}.*?, (1/[0-9.]+) with"
    )
    ((usual, again, offloaded),) = re.findall(on_a_gpu, page, re.MULTILINE | re.DOTALL)
    assert (
        f"trains in {default} of the memory of full fine-tuning on a CPU and in {usual} on a GPU; "
        f"with `--activations recomputed` in {recomputed} and {again}, on a GPU with `offloaded` "
        f"in {offloaded}. Nine"
    ) in readme
    guide = " ".join((ROOT / "docs/performance.md").read_text(encoding="utf-8").split())
    half, least = parts["bf16"]
    assert f"and at 1.8 GB in bf16, {half}." in guide
    assert f"it takes {recomputed} and {least}" in guide


def test_the_speed_of_the_guide_is_that_of_its_page() -> None:
    page = (RESULTS / "train_speed.md").read_text(encoding="utf-8")
    guide = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for candidate, told in (
        ("AdapterTrainer as its", "`AdapterTrainer` as its"),
        (r"\+ autocast", "the same, configured"),
        (r"\+ attention", "adapter-stilts"),
    ):
        on_each = re.findall(rf"^\| {candidate}.*?\| (\S+) .* (\S+) \|$", page, re.MULTILINE)
        assert len(on_each) == 2, "two machines"
        cells = re.escape(" | ".join(cell for each in on_each for cell in each))
        assert re.search(rf"^\| {told}.*\| {cells} \|$", guide, re.MULTILINE), candidate
    epyc, xeon = re.findall(r"differ by (\d+)% at most", page)
    assert f"up to {epyc} % on the EPYC and up to {xeon} % on the Xeon" in guide


@pytest.mark.slow
def test_the_page_of_the_study_is_made_of_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "embedded_xtreme_r.md"
    monkeypatch.setattr(sys, "argv", ["page", "--out", str(made)])
    importlib.import_module("study_page").main()
    for name in (made.name, made.with_suffix(".svg").name):
        assert (tmp_path / name).read_bytes() == (RESULTS / name).read_bytes()
