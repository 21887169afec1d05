"""A recommendation, as rows of a table and lines beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter_stilts.study.recommendation import Ranked, Recommendation, Rule

_TITLES: Mapping[Rule, str] = {"logme": "LogME", "text": "text", "parameters": "weights"}


def recommendation_columns(found: Recommendation) -> tuple[str, ...]:
    """What the columns are called."""
    rules = (_TITLES[rule] for rule in _rules(found))
    probe = (f"dev at {steps}" for steps in _steps(found))
    return ("module", *rules, "mean rank", "first", "place", *probe, "seconds")


def recommendation_rows(found: Recommendation) -> Iterator[tuple[str, ...]]:
    """A row a module, the best one first."""
    for each in found.modules:
        rules = (
            f"{each.scores[rule]:.3f}" if rule in each.scores else "-" for rule in _rules(found)
        )
        yield (
            each.module,
            *rules,
            f"{each.mean_rank:.1f}",
            f"{100 * each.first:.0f}%",
            _place(each),
            *(
                f"{each.probe[steps]:.1f}" if steps in each.probe else "-"
                for steps in _steps(found)
            ),
            f"{each.seconds:.0f}",
        )


def recommendation_notes(found: Recommendation) -> Iterator[str]:
    """What the table does not say by itself."""
    spent = ", ".join(f"{rule} {seconds:.0f}" for rule, seconds in found.seconds.items())
    yield (
        f"{found.examples} examples; first and place (95 %) over {found.draws} draws of half of "
        f"them; seconds: {spent}"
    )
    if any("parameters" in each.scores for each in found.modules):
        yield "weights: of one short training, the same in all draws"
    if found.plain is not None:
        above = sum(each.scores.get("logme", found.plain) > found.plain for each in found.modules)
        yield (
            f"LogME of the backbone alone: {found.plain:.3f}; {above} of {len(found.modules)} "
            "modules are above it"
        )
    for what, why in found.silent.items():
        yield f"{what}: not known ({why})"


def _rules(found: Recommendation) -> list[Rule]:
    return [rule for rule in _TITLES if any(rule in each.scores for each in found.modules)]


def _steps(found: Recommendation) -> list[int]:
    return sorted({steps for each in found.modules for steps in each.probe})


def _place(each: Ranked) -> str:
    return str(each.low) if each.low == each.high else f"{each.low}-{each.high}"
