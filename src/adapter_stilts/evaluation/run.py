"""`evaluate`: a target task, some languages, one or several compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.parts import check_languages, given_files, with_files
from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import backbone_name, find_candidates, folders
from adapter_stilts.evaluation.data import NoDataError, read_data, resolve_languages, resolve_split
from adapter_stilts.evaluation.files import slug
from adapter_stilts.evaluation.options import (
    Asked,
    EvaluationOptions,
    LayerRule,
    check_settings,
    layer_rule,
)
from adapter_stilts.evaluation.summary import Evaluation, Evaluations, outside_suites
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.metrics import primary
from adapter_stilts.paths import check_writable
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Split, TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.find import each_seed, find_language


@checks_keywords
def evaluate(
    task: str | Path | TargetSpec | TaskSpec,
    compositions: Composition | Sequence[Composition],
    **options: Unpack[EvaluationOptions],
) -> Evaluations:
    """Predicts and scores a target task in many languages, without any training in them.

    Predictions are written as they come, in XTREME's submission format, with a record of what
    they are. What is there already, of the same composition, data and settings, is not computed
    again.

    Args:
        task: a target task, such as `tydiqa`, the path of a task file, or a spec.
        compositions: one or several, such as `stack(squad, tydiqa)`; several go together,
            in little more time than the layers that tell them apart take. In
            `stack(lang:*, squad)`, every language has its own module below; `squad-s*` is one
            composition for every seed of `squad`.
        options: see `EvaluationOptions`.

    Returns:
        One `Evaluation` a composition. It is partial where the data lacks a language.

    Raises:
        UserError: an unknown task, language or split; a composition that does not fit the task;
            data that is malformed or not there; a folder of another composition's predictions.
    """
    asked = fill(Asked, options)
    texts = as_texts(compositions)
    target = resolve_target(task, asked)
    check_settings(asked)
    split = resolve_split(target, asked.split)
    languages = resolve_languages(target, asked.langs, split, asked.data)
    check_languages(target, split, languages)
    call = _Call(target, split, languages, asked)
    each = any(EACH_LANGUAGE in text for text in texts)
    return Evaluations(call.each_language(texts) if each else call.together(texts))


def resolve_target(task: str | Path | TargetSpec | TaskSpec, asked: Asked) -> TargetSpec:
    """The target with the tags and the files of the options; refuses those that do not fit it."""
    target = get_target(task)
    if asked.tags is not None:
        target = target.with_tags(asked.tags)
    if asked.dev_file and asked.split != "dev":
        raise UserError("--dev-file is read with --split dev: add that, or give --test-file")
    if asked.test_file and asked.split != "test":
        raise UserError("--test-file is read with --split test: leave --split out")
    if target.retrieval is None and (asked.layer is not None or asked.layer_from is not None):
        raise UserError(
            f"{target.name} has a head, so no layer is chosen for it: leave out --layer and "
            "--layer-from, which are for retrieval"
        )
    return with_files(target, {"dev": asked.dev_file, "test": asked.test_file})


@dataclass(frozen=True)
class _Call:
    """What is evaluated on, and how."""

    target: TargetSpec
    split: Split
    languages: Sequence[str]
    asked: Asked

    def together(self, texts: Sequence[str], out: Path | None = None) -> list[Evaluation]:
        """Evaluates compositions that have the same modules in every language."""
        target, split, asked = self.target, self.split, self.asked
        candidates = find_candidates(target, texts, asked.backbone)
        name = backbone_name(candidates, asked.backbone)
        file = given_files(target).get(split)
        places = folders(candidates, out or asked.out, name, asked.limit, file)
        for place in places:
            check_writable(place)
        read = read_data(target, self.languages, split, asked.data, limit=asked.limit)
        from adapter_stilts.evaluation.job import Job  # seconds of imports: nothing is wrong

        job = Job(target, split, asked, name, candidates, places, read)
        for store in job.stores:
            store.check(overwrite=asked.overwrite)
        job.compute()
        return [job.summary(place) for place in range(len(candidates))]

    def each_language(self, compositions: Sequence[str]) -> list[Evaluation]:
        """Evaluates `stack(lang:*, squad)` in every language with that language's module (MAD-X).

        The predictions lie in a folder a language. Languages without a module are named as
        missing, as those without data are.

        Raises:
            UserError: as of `evaluate`; or none of the languages has a module.
        """
        asked = replace(self.asked, engines={})
        if self.target.retrieval is not None and asked.layer_rule is None:
            asked = replace(asked, layer_rule=self._rule(compositions))
        call = replace(self, asked=asked)
        found: list[Evaluation] = []
        for text in map(str.strip, compositions):
            place = Path(asked.out) if asked.out else None
            if place and len(compositions) > 1:
                place = place / slug(text)
            if EACH_LANGUAGE not in text:
                found += call.together([text], place)
                continue
            for seed, one in each_seed(text, asked.backbone).items():
                own = place / slug(one) if place and seed is not None else place
                made = call._by_language(one, own)
                found.append(made if seed is None else replace(made, seeds_of=text, seed=seed))
        return found

    def _rule(self, compositions: Sequence[str]) -> LayerRule | None:
        """The rule for all compositions, which are evaluated one by one: as if together."""
        backbone = self.asked.backbone
        for language in self.languages:
            with suppress(UserError):
                own = f"lang:{_module_language(self.target, language, backbone)}"
                named = [text.replace(EACH_LANGUAGE, own) for text in compositions]
                found = find_candidates(self.target, named, backbone)
                return layer_rule([each.record for each in found], backbone_name(found, backbone))
        return None

    def _by_language(self, text: str, out: Path | None) -> Evaluation:
        """Evaluates one composition with `lang:*`, language by language."""
        entries: dict[str, Mapping[str, Any]] = {}
        missing: dict[str, str] = {}
        places: dict[str, Path] = {}
        for language in self.languages:
            try:
                code = _module_language(self.target, language, self.asked.backbone)
            except UserError as error:
                missing[language] = str(error)
                continue
            written = text.replace(EACH_LANGUAGE, f"lang:{code}")
            alone = replace(self, languages=[language])
            try:
                (one,) = alone.together([written], out / language if out else None)
            except NoDataError as error:
                missing[language] = str(error)
                continue
            entries |= one.languages
            missing |= one.missing
            places |= dict.fromkeys(one.languages, one.folder)
        if not places:
            raise NoDataError(f"composition '{text}': {next(iter(missing.values()))}")
        return Evaluation(
            task=self.target.name,
            split=self.split,
            composition=text,
            folder=out.absolute() if out else next(iter(places.values())).parent,
            folders=places,
            metric=primary(self.target.metric),
            languages=entries,
            missing=missing,
            outside=outside_suites(self.target, entries),
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
