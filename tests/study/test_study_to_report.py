"""From a study file to its report: what the runs keep is what the report is drawn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter_stilts.report.page import make_report
from adapter_stilts.study import work
from adapter_stilts.study.findings import read_study
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.plan import make_plan
from adapter_stilts.study.spec_file import load_study

TEXT = """\
name: small
backbone: {backbone}
data: sample
intermediate: [squad, mnli]
targets: [xnli, udpos]
arms: [singles, fusion-full]
langs: [en, de]
budget: {{steps: 2, train_rows: 8, intermediate_steps: 2, intermediate_rows: 8}}
rates: [3.0e-3]
dev_items: 12
test_items: 6
precision: fp32
contrasts:
- {{name: S against F, first: singles, second: fusion-full, primary: true}}
"""


@pytest.mark.whole
def test_the_report_finds_what_the_runs_kept(
    tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO", str(tmp_path / "zoo"))
    file = tmp_path / "small.yaml"
    file.write_text(TEXT.format(backbone=tiny_xlmr), encoding="utf-8")
    plan, folder = make_plan(load_study(file)), StudyFolder(tmp_path / "small")
    for name, planned in plan.runs.items():
        folder.write_run(planned, "small")
        work.work(folder, name)
    data, contrasts = read_study(file)
    for target in ("xnli", "udpos"):
        for arm in ("singles:squad", "singles:mnli", "fusion-full"):
            (run,) = data.on(arm, target).values()
            assert set(data.items(run, target, "test")) == {"en", "de"}, arm
            dev = data.items(run, target, "dev")["en"]
            score = 100 * sum(dev["numerator"].to_pylist()) / sum(dev["denominator"].to_pylist())
            assert score == pytest.approx(run.dev_select), arm
        found = data.attention("fusion-full", target)
        assert found is not None and sorted(found.sources) == ["mnli", "squad"]
        assert set(found.languages) == {"en", "de"} and len(found.layers) == 3
        for weights in (*found.layers.values(), *found.languages.values()):
            assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
        assert data.attention("singles:squad", target) is None
        lengths = data.item_column(data.target(target, ["fusion-full"]), "length")
        assert set(lengths) == {"en", "de"}
        assert all(min(each.to_pylist()) > 0 for each in lengths.values())
    assert data.damaged == [] and not data.dev_fixed
    report = make_report(data, contrasts, draws=200)
    assert "the best of 2 by English dev" in report.answers[0]
    names = [table.name for table in report.tables]
    assert "attention" in names and "missing" not in names
    assert "single items" not in "\n".join(report.warnings)
