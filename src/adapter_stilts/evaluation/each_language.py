"""Compositions in which every language has a module of its own below (MAD-X's way)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import backbone_name, find_candidates
from adapter_stilts.evaluation.data import NoDataError, asked_split
from adapter_stilts.evaluation.files import slug
from adapter_stilts.evaluation.options import Asked, LayerRule, layer_rule
from adapter_stilts.evaluation.summary import Evaluation, outside_suites
from adapter_stilts.metrics import primary
from adapter_stilts.tasks.spec import Split
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.find import find_language
from adapter_stilts.zoo.names import each_seed

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine

    Engines = dict[tuple[str, str], Engine]
Evaluate = Callable[[TargetSpec, Sequence[str], Sequence[str], Split, Asked], list[Evaluation]]


def evaluate_each(
    evaluate: Evaluate,
    target: TargetSpec,
    compositions: Sequence[str],
    languages: Sequence[str],
    asked: Asked,
) -> list[Evaluation]:
    """Evaluates `stack(lang:*, squad)` in every language with that language's module.

    The predictions lie in a folder a language. Languages without a module are named as missing,
    as those without data are.

    Args:
        evaluate: does it for compositions without `lang:*`.

    Raises:
        UserError: as of `evaluate`; or none of the languages has a module.
    """
    asked = replace(asked, engines={})
    if target.retrieval is not None and asked.layer_rule is None:
        rule = _rule(target, compositions, languages, asked.backbone)
        asked = replace(asked, layer_rule=rule)
    split = asked_split(target, asked.split)
    found: list[Evaluation] = []
    for text in compositions:
        text, place = text.strip(), Path(asked.out) if asked.out else None
        if place and len(compositions) > 1:
            place = place / slug(text)
        if EACH_LANGUAGE not in text:
            found += evaluate(target, [text], languages, split, replace(asked, out=place))
            continue
        for seed, one in each_seed(text, asked.backbone).items():
            own = place / slug(one) if place and seed is not None else place
            made = _each(evaluate, target, one, languages, replace(asked, out=own))
            found.append(made if seed is None else replace(made, seeds_of=text, seed=seed))
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
    evaluate: Evaluate, target: TargetSpec, text: str, languages: Sequence[str], asked: Asked
) -> Evaluation:
    entries: dict[str, Mapping[str, Any]] = {}
    missing: dict[str, str] = {}
    folders: dict[str, Path] = {}
    split, out = asked_split(target, asked.split), asked.out
    for language in languages:
        try:
            code = _module_language(target, language, asked.backbone)
        except UserError as error:
            missing[language] = str(error)
            continue
        written = text.replace(EACH_LANGUAGE, f"lang:{code}")
        own = replace(asked, out=Path(out) / language if out else None)
        try:
            (one,) = evaluate(target, [written], [language], split, own)
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
        split=split,
        composition=text,
        folder=Path(out) if out else next(iter(folders.values())).parent,
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
