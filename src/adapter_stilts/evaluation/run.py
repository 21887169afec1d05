"""`evaluate`: a target task, some languages, one or several compositions; and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Unpack

from adapter_stilts.compositions import Composition, as_texts
from adapter_stilts.data.parts import check_languages, given_files, with_files
from adapter_stilts.display import Picture, Result, bars
from adapter_stilts.engine.composition import EACH_LANGUAGE
from adapter_stilts.errors import UserError, counted
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
from adapter_stilts.keywords import checks_keywords, fill
from adapter_stilts.metrics import Spread, primary, spreads
from adapter_stilts.paths import check_writable
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Split, TargetSpec, TaskSpec
from adapter_stilts.zoo.find import each_seed, find_language

Scores = Mapping[str, float]
ENGLISH = "en"
_VECTORS = ("layer", "pooling", "layer_rule")


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """One composition on one target task.

    `metric` is the task's primary one. `languages` has, for every language that was evaluated,
    its entry of `evaluation.json`; `missing` says of every other one that was asked for why it
    was not. `outside` are languages that no suite lists for the task: they have scores, and no
    part in the means. Of a module that was trained with several seeds, `seeds_of` names all of
    them (`xnli-on-mnli-s*`) and `seed` is this one's. `folder` is that of the predictions, as a
    whole path; `folders` names, by language, those that lie elsewhere (with `lang:*`, every
    language's do).
    """

    task: str
    split: Split
    composition: str
    folder: Path
    metric: str
    languages: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]
    outside: tuple[str, ...] = ()
    seeds_of: str = ""
    seed: int | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)

    def folder_of(self, language: str) -> Path:
        """The folder that a language's entry names its file in."""
        return self.folders.get(language, self.folder)

    @property
    def partial(self) -> bool:
        """Whether a language that was asked for could not be evaluated."""
        return bool(self.missing)

    @property
    def scores(self) -> dict[str, Scores]:
        """Scores in percent by language; languages without labels have none."""
        return {
            language: entry["scores"]
            for language, entry in self.languages.items()
            if entry["labelled"]
        }

    @property
    def average(self) -> dict[str, float]:
        """The mean of every metric over the suites' languages that have scores."""
        return _mean(self._counting)

    @property
    def _counting(self) -> dict[str, Scores]:
        return {name: each for name, each in self.scores.items() if name not in self.outside}

    @property
    def english(self) -> dict[str, float]:
        """The English scores; empty where English is not among the languages."""
        return dict(self.scores.get(ENGLISH, {}))

    @property
    def without_english(self) -> dict[str, float]:
        """The mean of every metric over the other languages."""
        return _mean({name: each for name, each in self._counting.items() if name != ENGLISH})

    @property
    def gap(self) -> dict[str, float]:
        """The transfer gap: the English score minus the mean of the others (Hu et al. 2020)."""
        others = self.without_english
        return {name: value - others[name] for name, value in self.english.items() if others}

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """All of these by their names."""
        return {name: getattr(self, name) for name in MEANS}

    @property
    def vectors(self) -> list[tuple[Any, ...]]:
        """Layer, pooling and rule of a retrieval task's vectors; several where languages differ."""
        details = [each.get("details", {}) for each in self.languages.values()]
        made = [tuple(each.get(key, "") for key in _VECTORS) for each in details if "layer" in each]
        return list(dict.fromkeys(made))

    def summary(self) -> str:
        """The task, the composition, and the mean score."""
        mean = self.average.get(self.metric)
        none = "no average" if any(self.scores.values()) else "no labels"
        said = none if mean is None else f"{self.metric} {mean:.1f}"
        over = counted(len(self.languages), "language")
        return f"{self.task} {self.split}, {self.composition}: {said} over {over}"

    def records(self) -> list[dict[str, Any]]:
        """A row a language, with all its scores."""
        about: dict[str, Any] = {"task": self.task, "split": self.split}
        about["composition"] = self.composition
        about |= {"seed": self.seed} if self.seeds_of else {}
        return [
            {**about, "language": language, "examples": entry["examples"], **entry["scores"]}
            for language, entry in self.languages.items()
        ]

    def plot(self) -> Picture:
        """The score of every language as a bar."""
        return Evaluations([self]).plot()

    def as_dict(self) -> dict[str, Any]:
        """Everything above as JSON can write it."""
        made = self.vectors
        return {
            "task": self.task,
            "split": self.split,
            "composition": self.composition,
            **({"seeds_of": self.seeds_of, "seed": self.seed} if self.seeds_of else {}),
            "folder": str(self.folder),
            "metric": self.metric,
            "languages": {name: dict(entry) for name, entry in self.languages.items()},
            "missing": dict(self.missing),
            "partial": self.partial,
            "outside": list(self.outside),
            **self.means,
            # None where languages differ, whose entries say it then.
            **dict(
                zip(_VECTORS, made[0] if len(made) == 1 else [None] * 3, strict=True)
                if made
                else ()
            ),
        }


class Evaluations(list[Evaluation], Result):
    """What `evaluate` returns: one `Evaluation` a composition, and all of them side by side."""

    def summary(self) -> str:
        """The number of compositions and what they were evaluated on."""
        if len(self) == 1:
            return self[0].summary()
        names = ", ".join(each.composition for each in self)
        on = f" on {self[0].task} {self[0].split}" if self else ""
        return f"{len(self)} compositions{on}: {names}"

    def records(self) -> list[dict[str, Any]]:
        """A row a composition and language."""
        return [record for each in self for record in each.records()]

    def plot(self) -> Picture:
        """The scores by language, a bar a composition.

        Raises:
            UserError: no language has labels, so there are no scores.
        """
        metric = self[0].metric if self else ""
        rows = [record for record in self.records() if metric in record]
        if not rows:
            raise UserError("there are no scores to draw: none of the languages has labels")
        series = "composition" if len(self) > 1 else ""
        drawn = bars(rows, label="language", value=metric, series=series, title=self.summary())
        return Picture.from_vega_lite(drawn)

    __repr__ = Result.__repr__


def _mean(scores: Mapping[str, Scores]) -> dict[str, float]:
    if not scores:
        return {}
    first, *others = scores.values()
    shared = [name for name in first if all(name in each for each in others)]
    return {name: fmean(each[name] for each in scores.values()) for name in shared}


def outside_suites(target: TargetSpec, languages: Iterable[str]) -> tuple[str, ...]:
    """Which languages have no part in the means: those that no suite lists for the task.

    Others that the task knows by name (MLQA's pairs) have one where none of a suite's is there.
    """
    there = list(languages)
    listed = set(target.languages)
    if not listed.intersection(there):
        listed |= set(target.others)
    return tuple(language for language in there if language not in listed)


MEANS = ("average", "english", "without_english", "gap")


@dataclass(frozen=True)
class SeedSummary:
    """The evaluations of one composition, by seed."""

    evaluations: tuple[Evaluation, ...]

    @property
    def composition(self) -> str:
        """The composition, with all seeds named."""
        return self.evaluations[0].seeds_of

    @property
    def scores(self) -> dict[str, dict[str, Spread]]:
        """Of every language that has scores in all seeds, those of each metric."""
        first = self.evaluations[0].scores
        return {
            language: spreads([each.scores[language] for each in self.evaluations])
            for language in first
            if all(language in each.scores for each in self.evaluations)
        }

    @property
    def means(self) -> dict[str, dict[str, Spread]]:
        """Those of the seeds' averages, English scores, means without English and gaps, by name."""
        every = [each.means for each in self.evaluations]
        return {name: spreads([means[name] for means in every]) for name in MEANS}

    @property
    def vectors(self) -> list[tuple[Any, ...]]:
        """Where the sentence vectors of a retrieval task come from, as of `Evaluation.vectors`."""
        return list(dict.fromkeys(made for each in self.evaluations for made in each.vectors))

    def as_dict(self) -> dict[str, Any]:
        """Every seed and the summary, as JSON can write it."""
        return {
            "task": self.evaluations[0].task,
            "split": self.evaluations[0].split,
            "composition": self.composition,
            "metric": self.evaluations[0].metric,
            "seeds": [each.as_dict() for each in self.evaluations],
            "summary": {
                "languages": {name: _plain(each) for name, each in self.scores.items()},
                **{name: _plain(each) for name, each in self.means.items()},
            },
        }


def _plain(found: Mapping[str, Spread]) -> dict[str, Any]:
    return {metric: each.as_dict() for metric, each in found.items()}


def group_seeds(evaluations: Sequence[Evaluation]) -> list[Evaluation | SeedSummary]:
    """The seeds of one composition together, in the place of the first."""
    found: dict[str, list[Evaluation]] = {}
    for place, each in enumerate(evaluations):
        found.setdefault(each.seeds_of or f"{place}", []).append(each)
    return [
        SeedSummary(tuple(group)) if group[0].seeds_of else group[0] for group in found.values()
    ]


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

        The predictions lie in a folder a language. Languages without a module are named as missing,
        as those without data are. Refuses as `evaluate`, and where none of the languages has a
        module.
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

    Of a pair such as en-de, the first is the language that is read most. Refuses where neither has
    one.
    """
    broad = language.partition("-")[0]
    if language not in target.others:
        with suppress(UserError):
            find_language(f"lang:{language}", backbone)
            return language
    find_language(f"lang:{broad}", backbone)
    return broad
