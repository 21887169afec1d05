"""The tables of a report for LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from adapter_stilts.report.tables import Table, show_cell

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
