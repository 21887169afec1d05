"""Makes docs/results/embedded_xtreme_r.md and its report of the study's committed records.

The records are an archive of what the study's folder has of every finished run: its line of
`results.jsonl`, and the scores of single items. `--pack FOLDER` writes it anew after more runs;
`--unpack FOLDER` lays it out, so that `adstilts study run` goes on with what is missing.

    python benchmarks/study_page.py
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adapter_stilts.report.page import PAGE as REPORT
from adapter_stilts.report.page import TEXT, make_report, write_report
from adapter_stilts.study.findings import read_study
from adapter_stilts.study.study_data import StudyData

STUDY = Path("studies/embedded_xtreme_r.yaml")
RECORDS = Path("docs/results/records/embedded_xtreme_r.tar.xz")
RECOMMENDED = Path("docs/results/records/recommend.jsonl")
PAGE = Path("docs/results/embedded_xtreme_r.md")


def main() -> None:
    """Writes the page, unless it packs or unpacks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--out", type=Path, default=PAGE, help="the report lies beside it")
    parser.add_argument("--pack", type=Path, metavar="FOLDER")
    parser.add_argument("--unpack", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.pack:
        pack(args.pack, args.records)
    elif args.unpack:
        unpack(args.records, args.unpack)
    else:
        write_page(args.study, args.records, args.out)


def pack(folder: Path, records: Path) -> None:
    """Writes the archive, the same bytes of the same files."""
    with tarfile.open(records, "w:xz", preset=9) as archive:
        for path in sorted(_kept(folder)):
            about = archive.gettarinfo(path, str(path.relative_to(folder)))
            about.uid = about.gid = about.mtime = 0
            about.uname = about.gname = ""
            about.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(about, file)


def _kept(folder: Path) -> Iterator[Path]:
    """Records, and items of finished runs; of English dev those that choose: others can be made."""
    yield from (folder / name for name in ("results.jsonl", "plan.json"))
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    for run in sorted(json.loads(line)["run"] for line in lines):
        yield from (folder / "items" / run).rglob("*.items.parquet")
        yield from (folder / "items" / run).rglob("attention.json")
        yield from (folder / "dev" / run).glob("select.items.parquet")


def unpack(records: Path, folder: Path) -> None:
    """Lays the archive out in a folder."""
    with tarfile.open(records) as archive:
        archive.extractall(folder, filter="data")


def _recommended(data: StudyData) -> dict[str, str]:
    """By target the single that the mean of all rules puts first, by the committed records."""
    lines = RECOMMENDED.read_text(encoding="utf-8").splitlines()
    rows = [(row["target"], row["rankings"]["mean rank"][0]) for row in map(json.loads, lines)]
    singles = {target: data.single(task, "bottleneck") for target, task in rows}
    return {target: single for target, single in singles.items() if single}


def write_page(study: Path, records: Path, page: Path) -> None:
    """The Markdown of the report, below what it was made of; itself; the first contrast's chart."""
    report = page.with_name(f"{page.stem}_report.html")  # the site makes .html of the page itself
    with tempfile.TemporaryDirectory() as temporary:
        folder, made = Path(temporary, "study"), Path(temporary, "report")
        unpack(records, folder)
        data, contrasts = read_study(study, folder)
        write_report(make_report(data, contrasts, recommended=_recommended(data)), made)
        lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
        text = (made / TEXT).read_text(encoding="utf-8")
        report.write_bytes((made / REPORT).read_bytes())
        page.with_suffix(".svg").write_bytes((made / "forest-1.svg").read_bytes())
    runs = [json.loads(line) for line in lines]
    title, _, rest = text.partition("\n")
    machines = ", ".join(sorted({run["machine"] for run in runs}))
    commits = ", ".join(sorted({run["commit"][:10] for run in runs}))
    page.write_text(
        f"{title}\n\n[The report]({report.name}) with its charts, one file that "
        f"opens offline. {len(runs)} runs; machine: {machines}; commit {commits}. Made by "
        f"`adstilts study run {study} --data DATA`, the page by `python benchmarks/study_page.py` "
        f"from [the records](records/{records.name}).\n{rest}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
