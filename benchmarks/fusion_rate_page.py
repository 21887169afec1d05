"""Makes docs/results/fusion_rate.md: full fusion at rates around the lowest of the study.

The records are those of `adstilts study run studies/embedded_fusion_rate.yaml --data DATA`; of
them, `--pack FOLDER` takes the scores of English dev from that study's folder.

    python benchmarks/fusion_rate_page.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from adapter_stilts.study.folder import read_results
from adapter_stilts.study.graph import RunResult

RECORDS = Path("docs/results/records/fusion_rate.jsonl")
PAGE = Path("docs/results/fusion_rate.md")
TARGETS = ("panx", "udpos", "xnli")


def main() -> None:
    """Writes the page, or the records of a study's folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pack", type=Path, metavar="FOLDER")
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    if args.pack:
        runs = read_results(args.pack / "results.jsonl").runs.values()
        lines = [json.dumps(run.model_dump(mode="json")) + "\n" for run in runs if is_asked(run)]
        args.records.write_text("".join(sorted(lines)), encoding="utf-8")
    args.out.write_text(page(list(read_results(args.records).runs.values())), encoding="utf-8")


def is_asked(run: RunResult) -> bool:
    """Whether it is a fusion at one of the rates, on English dev, of the first seed."""
    return (run.stage, run.arm, run.seed_target) == ("rate", "fusion-full", 0) and (
        run.target in TARGETS
    )


def page(runs: list[RunResult]) -> str:
    """Scores of English dev by target and rate."""
    rates = sorted({run.lr for run in runs})
    scores = {(run.target, run.lr): _mean(run) for run in runs}
    lines = []
    for target in TARGETS:
        own = {rate: scores[target, rate] for rate in rates if (target, rate) in scores}
        best = max(own, key=own.__getitem__, default=None)
        cells = [
            ""
            if rate not in own
            else f"**{own[rate]:.1f}**"
            if rate == best
            else f"{own[rate]:.1f}"
            for rate in rates
        ]
        lines.append(f"| {target} | {' | '.join(cells)} |")
    where = {run.lr: run.machine for run in runs}
    machines = "; ".join(f"{rate:g}: {where[rate]}" for rate in rates)
    return f"""# Full fusion at lower rates

In [the study](embedded_xtreme_r.md) full fusion was best at the lowest rate tried, 0.001. Is it
better still at a lower one? English dev in percent, {runs[0].steps} steps, one seed; the best in
bold. Machines by rate: {machines}. Made by `adstilts study run
studies/embedded_fusion_rate.yaml --data DATA` and `python benchmarks/fusion_rate_page.py` of
[the records](records/fusion_rate.jsonl).

| target | {" | ".join(f"{rate:g}" for rate in rates)} |
|---{"|---" * len(rates)}|
{chr(10).join(lines)}
"""


def _mean(run: RunResult) -> float:
    """The mean of both halves of English dev."""
    if run.dev_choose is None or run.dev_select is None:
        raise SystemExit(f"run {run.run} has no score of English dev")
    return (run.dev_choose + run.dev_select) / 2


if __name__ == "__main__":
    main()
