"""The report of a study: one page that opens offline, and the same as files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined

from adapter_stilts.display import markdown_row
from adapter_stilts.errors import UserError, counted, few
from adapter_stilts.paths import atomic_folder
from adapter_stilts.report.charts import Chart, all_charts
from adapter_stilts.report.tables import (
    UNEQUAL,
    Table,
    attention_table,
    bucket_table,
    by_language,
    by_target,
    contrast_name,
    contrasts,
    cost,
    matrix,
    missing,
    rules,
    show_cell,
)
from adapter_stilts.study.draws import STAGES, Best
from adapter_stilts.study.findings import RECOMMENDED, Finding, Regrets, as_family, find, regrets
from adapter_stilts.study.spec import ContrastSpec
from adapter_stilts.study.study_data import StudyData

LONG = 100
"""A table of more rows is folded in Markdown, and turned over page by page in HTML."""
PAGE, TEXT, TEX = "report.html", "report.md", "report.tex"


@dataclass(frozen=True)
class Report:
    """Everything that is said of a study: `answers` are sentences, the first one the answer."""

    title: str
    about: str
    answers: Sequence[str]
    warnings: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Chart]


def make_report(
    data: StudyData,
    specs: Sequence[ContrastSpec],
    *,
    recommended: Mapping[str, str] | None = None,
    draws: int = 2000,
) -> Report:
    """Draws what there is; what is missing or damaged is said, and a study without runs refused.

    What is `recommended` is as `read_recommended` has it.
    """
    if not data.arms:
        why = [*data.notes, *(f"Damaged: {each.place} ({each.why})." for each in data.damaged)]
        raise UserError(" ".join([f"{data.name}: no run has been evaluated yet.", *why][:4]))
    data.read_items()
    findings: list[Finding] = []
    unanswered: dict[str, str] = {}
    for spec in sorted(specs, key=lambda each: not each.primary):
        found = find(data, spec, draws=draws)
        if isinstance(found, str):
            unanswered[spec.name] = found
        else:
            findings.append(found)
    findings = as_family(findings, specs)
    chosen = next((members for s in specs if len(members := data.arms_named(s.first)) > 1), ())
    lost = regrets(data, chosen, recommended=recommended, draws=min(draws, 500))
    tables = _tables(data, findings, lost)
    answers = [_answer(data, found) for found in findings] or ["No contrast can be answered yet."]
    warnings = _warnings(data, findings, unanswered)
    if recommended and RECOMMENDED not in lost.rules:
        warnings.append(_why_not_told(data, recommended, lost))
    charts = list(all_charts(data, findings, tables))
    about = _about(data, findings, draws)
    return Report(f"Study {data.name}", about, answers, warnings, tables, charts)


def _about(data: StudyData, findings: Sequence[Finding], draws: int) -> str:
    """How much there is, and what was drawn anew."""
    runs = sum(map(len, data.arms.values()))
    said = f"{counted(runs, 'run')} of {counted(len(data.arms), 'arm')} on "
    said += counted(len(data.targets), "target")
    if findings:
        noise = {factor for found in findings for factor in found.fixed.overall.noise}
        stages = [stage for stage in STAGES if stage in noise]
        seeds = "the seeds of both stages" if len(stages) == 2 else "".join(stages)
        said += f"; {draws} draws of items" + (f" and of {seeds}, crossed" if seeds else "")
    if any(isinstance(arm, Best) for found in findings for arm in found.arms):
        said += "; what English dev chooses is chosen in every draw"
    return f"{said}."


def _why_not_told(data: StudyData, recommended: Mapping[str, str], lost: Regrets) -> str:
    """Why what `recommend` puts first is no rule."""
    said = "What 'recommend' loses is not told: "
    if not lost.targets:
        return f"{said}no target has arms of a contrast among which English dev chooses."
    open_ = [t for t in lost.targets if data.trained_on(t) not in recommended]
    if open_:
        return f"{said}it is known of {', '.join(recommended)} alone, not of {', '.join(open_)}."
    return f"{said}what it puts first has no scores of single items on every target."


def _answer(data: StudyData, found: Finding) -> str:
    """One sentence, which says where the arms had unequal budgets."""
    unequal = contrast_name(data, found) != found.spec.name
    return f"{found.answer} {UNEQUAL} Their budgets are not equal." if unequal else found.answer


def _tables(data: StudyData, findings: Sequence[Finding], lost: Regrets) -> list[Table]:
    """Those that have rows, in the order of the page; what is damaged is known at the end."""
    made = [matrix(data), contrasts(data, findings), by_target(data, findings)]
    made += [bucket_table(data, findings), by_language(data, findings), cost(data)]
    made += [attention_table(data), rules(data, lost)]
    return [each for each in (*made, missing(data)) if each.rows]


def _warnings(
    data: StudyData, findings: Sequence[Finding], unanswered: Mapping[str, str]
) -> list[str]:
    said = [*data.notes, *(f"{name}: not answered: {why}." for name, why in unanswered.items())]
    if data.absent:
        there = sum(bool(data.on(arm, t)) for arm in data.arms for t in data.targets)
        total = there + len(data.absent)
        said.append(f"Unfinished: the matrix lacks {len(data.absent)} of {total} cells.")
    alike: dict[str, list[str]] = defaultdict(list)
    for found in findings:
        said += [
            f"{found.spec.name}: '{name}' is compared without {', '.join(never)}, of which nothing "
            "was evaluated yet."
            for name in (found.spec.first, found.spec.second)
            if (never := data.never_run(name))
        ]
        if found.without:
            alike[f"Without {', '.join(found.without)}"].append(found.spec.name)
        for what in _one_seed(found):
            alike[what].append(found.spec.name)
    said += [f"{what}: {'; '.join(names)}." for what, names in alike.items()]
    if left := _left_out(data, findings):
        said.append(
            "Not in the contrasts, since their seeds are not crossed with the others' or items are "
            f"missing: {few(left)}."
        )
    if data.dev_fixed and any(len(data.arms_named(found.spec.first)) > 1 for found in findings):
        said.append("English dev has no scores of single items here: its examples are not drawn.")
    if data.damaged:
        places = ", ".join(each.place for each in data.damaged)
        said.append(f"Damaged: {places}. `adstilts study run` does these runs again.")
    if data.unequal:
        said.append(f"Unequal budgets: {', '.join(sorted(data.unequal))}.")
    return said


def _left_out(data: StudyData, findings: Sequence[Finding]) -> list[str]:
    """Runs of the matrix that no contrast counts, by arm and target."""
    left = {}
    for target in (target for found in findings for target in found.draws.targets):
        for arm in target.test.arms:
            runs, (first, second) = len(data.on(arm, target.name)), target.test.seeds(arm)
            if count := runs - first * second:
                left[arm, target.name] = (
                    f"{count} of {counted(runs, 'run')} of {arm} on {target.name}"
                )
    return list(left.values())


def _one_seed(found: Finding) -> Iterator[str]:
    """What no interval shows: both arms of one seed, or one of them, on all targets or on some."""
    targets = list(found.fixed.targets)
    if all(found.of_one_seed.get(name) == targets for name in found.names):
        yield "One seed, whose luck no interval shows"
        return
    for name, there in found.of_one_seed.items():
        on = "" if there == targets else f" on {', '.join(there)}"
        yield f"One seed of {name}{on}, whose luck no interval shows"


def page(report: Report) -> str:
    """The report as one file of HTML; refused where what draws it is not installed."""
    javascript = _itables()
    path = Path(__file__).with_name("page.html.jinja")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(path.read_text(encoding="utf-8"))
    bundle = Path(javascript.__file__).parent / "html" / "dt_bundle.js"
    text: str = template.render(
        **vars(report),
        show_cell=show_cell,
        long=LONG,
        charts_library=_vega(),
        tables_library=javascript.generate_init_offline_itables_html(bundle),
        tables_global=javascript._itables_underscore_version(),
        tables_event=javascript._itables_ready_event(),
    )
    return text


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which takes seconds to make."""
    library: Any = vl_convert  # its types ask for an argument that it can do without
    bundle: str = library.javascript_bundle().replace("</script", "<\\/script")
    return bundle


def _itables() -> Any:
    try:
        from itables import javascript
    except ImportError as error:
        raise UserError(
            f"the page needs {error.name}: pip install 'adapter-stilts[report]'"
        ) from error
    return javascript


def text(report: Report) -> str:
    """The report as Markdown."""
    parts = [f"# {report.title}", f"**{report.answers[0]}**", *report.answers[1:]]
    parts += [*report.warnings, report.about, *map(markdown, report.tables)]
    return "\n\n".join(parts) + "\n"


def write_report(report: Report, folder: Path) -> None:
    """Writes the page, Markdown, LaTeX, a CSV a table, a PDF and an SVG a chart."""
    made = page(report)
    with atomic_folder(folder) as work:
        (work / PAGE).write_text(made, encoding="utf-8")
        (work / TEXT).write_text(text(report), encoding="utf-8")
        (work / TEX).write_text(tex(report.tables, report.answers), encoding="utf-8")
        for table in report.tables:
            (work / f"{table.name}.csv").write_text(as_csv(table), encoding="utf-8")
        for chart in report.charts:
            svg = vl_convert.vegalite_to_svg({**chart.spec, "width": 480})
            (work / f"{chart.name}.svg").write_text(svg, encoding="utf-8")
            (work / f"{chart.name}.pdf").write_bytes(vl_convert.svg_to_pdf(svg))


def markdown(table: Table) -> str:
    """As GitHub reads it; of a long table its heading is shown, and its rows when asked for."""
    rows = [table.columns, ["---"] * len(table.columns)]
    rows += [[show_cell(cell) for cell in row] for row in table.rows]
    lines = [*map(markdown_row, rows), "", *([table.note, ""] if table.note else [])]
    if len(table.rows) > LONG:
        head = f'<details markdown="1"><summary>{counted(len(table.rows), "row")}</summary>'
        lines = [head, "", *lines, "</details>", ""]
    return "\n".join([f"### {table.title}", "", *lines])


def as_csv(table: Table) -> str:
    """Numbers in full."""
    import pandas

    text: str = pandas.DataFrame(list(table.rows), columns=list(table.columns)).to_csv(index=False)
    return text


_COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
        # Other characters in the usual fonts.
        "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\textquotedbl{}",
        # After the end of a row they would be an option of it.
        "[": "{[}", "]": "{]}", "*": "{*}",
        "–": "--", "—": "---", "…": "\\dots{}", "†": "\\dag{}", "‡": "\\ddag{}", "·": "$\\cdot$",
        "±": "$\\pm$", "×": "$\\times$", "÷": "$\\div$", "−": "$-$", "≥": "$\\geq$",
        "≤": "$\\leq$", "≠": "$\\neq$", "≈": "$\\approx$", "∞": "$\\infty$", "√": "$\\surd$",
        "→": "$\\rightarrow$", "←": "$\\leftarrow$", "↔": "$\\leftrightarrow$",
        "⇒": "$\\Rightarrow$", "↑": "$\\uparrow$", "↓": "$\\downarrow$",
        "∈": "$\\in$", "∪": "$\\cup$", "∩": "$\\cap$",
        "α": "$\\alpha$", "β": "$\\beta$", "γ": "$\\gamma$", "δ": "$\\delta$", "ε": "$\\epsilon$",
        "θ": "$\\theta$", "λ": "$\\lambda$", "μ": "$\\mu$", "µ": "$\\mu$", "π": "$\\pi$",
        "ρ": "$\\rho$", "σ": "$\\sigma$", "τ": "$\\tau$", "φ": "$\\phi$", "χ": "$\\chi$",
        "ω": "$\\omega$", "Δ": "$\\Delta$", "Σ": "$\\Sigma$", "Ω": "$\\Omega$",
    }
)  # fmt: skip
"""What stands for a character, in text of every LaTeX."""
_LACKED = "ĦħĸĿŀŉŦŧſ"
"""Latin letters that pdfLaTeX has none for in its T1 fonts."""
_FOREIGN = re.compile(f"[^\\0-\u017e]|[{_LACKED}]")
_NEEDS = "% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs,longtable}"
_FOREIGN_NEEDS = r"""% Some characters here need XeLaTeX or LuaLaTeX, and a font that has them: {}
% pdfLaTeX prints their numbers.
\ifdefined\othercharacter\else
\DeclareRobustCommand{\othercharacter}[2]{\ifdefined\Umathchar#1\else{[}U+#2{]}\fi}
\fi"""


def tex(tables: Sequence[Table], answers: Sequence[str] = ()) -> str:
    """The tables, to be read in with `\\input`; above them the answers, as comments."""
    parts = [latex(table) for table in tables]
    others = dict.fromkeys(re.findall(r"\\othercharacter\{(.)\}", "".join(parts)))
    needs = [_NEEDS, *([_FOREIGN_NEEDS.replace("{}", " ".join(others)[:80], 1)] if others else [])]
    said = [f"% {' '.join(answer.split())}" for answer in answers]
    return "\n".join([*needs, *said, *parts])


def latex(table: Table) -> str:
    """For booktabs, with everything escaped."""
    import pandas

    frame = pandas.DataFrame(
        [[escaped(show_cell(cell)) for cell in row] for row in table.rows],
        columns=[escaped(name) for name in table.columns],
    )
    kinds = "".join("l" if table.is_text(k) else "r" for k in range(len(table.columns)))
    text: str = frame.style.hide(axis="index").to_latex(
        hrules=True,
        column_format=kinds,
        environment="longtable",
        caption=escaped(f"{table.title}. {table.note}".strip()),
    )
    return text


def escaped(text: str) -> str:
    """A text in which LaTeX sees no commands, and no character that pdfLaTeX stops at.

    >>> escaped("a_b ≥ 5 %"), escaped("Ж")
    ('a\\\\_b $\\\\geq$ 5 \\\\%', '\\\\othercharacter{Ж}{0416}')
    """
    return "".join(_COMMANDS.get(sign) or _foreign(sign) for sign in text)


def _foreign(sign: str) -> str:
    return f"\\othercharacter{{{sign}}}{{{ord(sign):04X}}}" if _FOREIGN.match(sign) else sign
