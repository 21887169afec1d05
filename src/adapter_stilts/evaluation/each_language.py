"""Compositions in which every language has a module of its own below (MAD-X's way)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import backbone_name, find_candidates
from adapter_stilts.evaluation.data import NoDataError
from adapter_stilts.evaluation.files import slug
from adapter_stilts.evaluation.layer_rules import LayerRule, layer_rule
from adapter_stilts.evaluation.summary import Evaluation, outside_suites
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.languages import find_language
from adapter_stilts.zoo.seeds import each_seed

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine

    Engines = dict[tuple[str, str], Engine]
Evaluate = Callable[..., list[Evaluation]]


def evaluate_each(
    evaluate: Evaluate,
    target: TargetSpec,
    compositions: Sequence[str],
    languages: Sequence[str],
    out: str | Path | None,
    options: Mapping[str, Any],
) -> list[Evaluation]:
    """Evaluates `stack(lang:*, squad)` in every language with that language's module.

    The predictions lie in a folder a language. Languages without a module are named as missing,
    as those without data are.

    Args:
        evaluate: does it for compositions without `lang:*`.

    Raises:
        UserError: as of `evaluate`; or none of the languages has a module.
    """
    engines: Engines = {}
    options = {**options, "engines": engines}
    if target.retrieval is not None and options["layer_rule"] is None:
        options["layer_rule"] = _rule(target, compositions, languages, options["backbone"])
    found = []
    for text in compositions:
        text, place = text.strip(), Path(out) if out else None
        if place and len(compositions) > 1:
            place = place / slug(text)
        if EACH_LANGUAGE not in text:
            found += evaluate(
                target.name, compositions=[text], langs=languages, out=place, **options
            )
            continue
        for seed, one in each_seed(text, options["backbone"]).items():
            if seed is None:
                found.append(_each(evaluate, target, one, languages, place, options))
                continue
            own = place / slug(one) if place else None
            made = _each(evaluate, target, one, languages, own, options)
            found.append(dataclasses.replace(made, seeds_of=text, seed=seed))
    return found


def _rule(
    target: TargetSpec, compositions: Sequence[str], languages: Sequence[str], backbone: str | None
) -> LayerRule | None:
    """The rule for all compositions, which are evaluated one by one: as if it were together."""
    for language in languages:
        with suppress(UserError):
            own = f"lang:{_module_language(target, language, backbone)}"
            named = [text.replace(EACH_LANGUAGE, own) for text in compositions]
            found = find_candidates(target, named, backbone)
            return layer_rule([each.record for each in found], backbone_name(found, backbone))
    return None


def _each(
    evaluate: Evaluate,
    target: TargetSpec,
    text: str,
    languages: Sequence[str],
    out: Path | None,
    options: Mapping[str, Any],
) -> Evaluation:
    entries: dict[str, Mapping[str, Any]] = {}
    missing: dict[str, str] = {}
    folders: dict[str, Path] = {}
    for language in languages:
        try:
            code = _module_language(target, language, options["backbone"])
        except UserError as error:
            missing[language] = str(error)
            continue
        try:
            (one,) = evaluate(
                target.name,
                compositions=[text.replace(EACH_LANGUAGE, f"lang:{code}")],
                langs=[language],
                out=out / language if out else None,
                **options,
            )
        except NoDataError as error:
            missing[language] = str(error)
            continue
        entries |= one.languages
        missing |= one.missing
        folders |= dict.fromkeys(one.languages, one.folder)
    if not folders:
        raise NoDataError(f"composition '{text}': {next(iter(missing.values()))}")
    return Evaluation(
        task=target.name,
        split=options["split"],
        composition=text,
        folder=out or next(iter(folders.values())).parent,
        folders=folders,
        metric=primary(target.metric),
        languages=entries,
        missing=missing,
        outside=outside_suites(target, entries),
    )


def _module_language(target: TargetSpec, language: str, backbone: str | None) -> str:
    """The code of the language whose module is used: of `pt-BR`, else of `pt`.

    Of a pair such as en-de, the first is the language that is read most.

    Raises:
        UserError: neither has one.
    """
    broad = language.partition("-")[0]
    if language not in target.others:
        with suppress(UserError):
            find_language(f"lang:{language}", backbone)
            return language
    find_language(f"lang:{broad}", backbone)
    return broad
