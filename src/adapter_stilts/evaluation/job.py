"""One call of `evaluate`: what is to be done, what is done already, and the doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts.backbones import default_device, find_backbone, resolve_precision
from adapter_stilts.backbones.tokenizer import FILES as TOKENIZER_FILES
from adapter_stilts.data.cache import file_digests
from adapter_stilts.engine.engine import Engine, load_engine
from adapter_stilts.evaluation.candidates import Candidate, backbone_record
from adapter_stilts.evaluation.data import TargetData
from adapter_stilts.evaluation.files import Entry, Store
from adapter_stilts.evaluation.items import ensure_items, has_items
from adapter_stilts.evaluation.labels import Found, evaluate_labels
from adapter_stilts.evaluation.options import Asked, layer_rule
from adapter_stilts.evaluation.run import Evaluation, outside_suites
from adapter_stilts.hashing import json_digest, package_digest
from adapter_stilts.heads import has_weights
from adapter_stilts.inference.predictions import default_batch_tokens
from adapter_stilts.metrics import metric_code, primary
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import Split, TargetSpec

if TYPE_CHECKING:
    from adapter_stilts.evaluation.layers import LayerChoice

OnLanguage = Callable[[str, str, Entry], None]
"""Called with composition, language and its entry, when a language is done."""


RULES = 1
"""Raised when this code comes to predict or score the same data differently."""

_CODE = package_digest(*(f"adapter_stilts.{part}" for part in ("features", "inference", "metrics")))
"""What makes features, predictions and scores: edited, it makes them anew."""


@dataclass
class Job:
    """One call of `evaluate`, its arguments checked and its data read."""

    target: TargetSpec
    split: Split
    asked: Asked
    backbone: str
    candidates: list[Candidate]
    places: list[Path]
    data: TargetData
    _choices: dict[int, LayerChoice] = field(default_factory=dict)

    @property
    def batch_tokens(self) -> int:
        """Padded tokens a batch at most: as asked for, or what suits the device."""
        return self.asked.batch_tokens or default_batch_tokens(default_device())

    @cached_property
    def engine(self) -> Engine:
        """The backbone in memory; a call that finds everything done does not need it."""
        engines = {} if self.asked.engines is None else self.asked.engines
        key = self.backbone, self.asked.precision
        if key not in engines:
            found = find_backbone(self.backbone)
            engines[key] = load_engine(found, precision=key[1])
        return engines[key]

    @cached_property
    def stores(self) -> list[Store]:
        """Each composition's folder."""
        about = backbone_record(self.candidates)
        if about is None:
            about = {"name": self.backbone, "fingerprint": self.engine.fingerprint}
        return [
            Store(
                place,
                expression=each.expression,
                identity=each.identity,
                backbone=about,
                flat=self.asked.flat,
            )
            for each, place in zip(self.candidates, self.places, strict=True)
        ]

    def decisive(self, number: int) -> dict[str, Any]:
        """The settings that predictions, and what is written of them, depend on."""
        candidate = self.candidates[number]
        dtype = resolve_precision(self.asked.precision, default_device())
        found: dict[str, Any] = {
            "rules": RULES,
            "code": _CODE[:16],
            "tokenizer": self._tokenizer,
            "precision": str(dtype).removeprefix("torch."),
            "limit": self.asked.limit,
            "max_length": candidate.window[0],
        }
        if own := metric_code(self.target.metric):
            found["metric"] = own
        if self.target.submitted:
            found["labels"] = list(self.target.submitted)
        if self.target.retrieval is not None:
            chosen = self._choice(number)
            return {**found, "layer": chosen.layer, "pooling": chosen.pooling}
        return {**found, "stride": candidate.window[1]}

    @cached_property
    def _tokenizer(self) -> str:
        """A hash of the files of a folder's tokenizer; elsewhere it changes with the weights."""
        folder = Path(self.backbone).expanduser()
        if not folder.is_dir():
            return ""
        files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
        return json_digest(file_digests(files))[:16]

    def finished_entry(self, number: int, language: str) -> Entry | None:
        """The entry of a language that is done, as it would be done now."""
        entry = self.stores[number].finished_entry(
            self.target.name,
            self.split,
            language,
            self.data.languages[language].fingerprint,
            self.decisive(number),
        )
        if entry is None or self.target.retrieval is None:
            return entry
        # Two rules may choose one layer: what is said is how it was chosen this time.
        details = {**entry["details"], "layer_rule": self._choice(number).rule}
        return {**entry, "details": details}

    def compute(self) -> None:
        """Evaluates what is not done yet, and writes it as it comes."""
        again, on_language = self.asked.overwrite, self.asked.on_language
        pending = [
            [lang for lang in self.data.languages if again or not self.finished_entry(number, lang)]
            for number in range(len(self.candidates))
        ]
        found = self._labels if self.target.retrieval is None else self._retrieval
        if self.target.retrieval is None and not has_weights(self.target.head):
            found = self._pairs
        for language, number, result in found(pending):
            candidate, data = self.candidates[number], self.data.languages[language]
            about = {
                "data": data.fingerprint,
                "settings": self.decisive(number),
                "examples": data.count,
            }
            store, split = self.stores[number], self.split
            entry = store.save(self.target, split, language, result, about)
            if has_items(self.target, entry):  # comparisons are drawn from these
                folder, where = store.folder, self.asked.data
                ensure_items(folder, entry, self.target, split, language, data, where)
            if on_language is not None:
                on_language(candidate.expression, language, entry)

    def _labels(self, pending: list[list[str]]) -> Iterator[Found]:
        read = self.data.languages
        for (max_length, stride, numbers), languages in self._groups(pending).items():
            composed = [self.candidates[number].load(self.engine) for number in numbers]
            for language, place, result in evaluate_labels(
                self.engine,
                self.target,
                composed,
                {lang: (read[lang].examples, read[lang].labelled) for lang in languages},
                max_length=self.engine.backbone.sequence_length(max_length),
                stride=stride,
                batch_tokens=self.batch_tokens,
                on_examples=self.asked.on_examples,
            ):
                yield language, numbers[place], result

    def _pairs(self, pending: list[list[str]]) -> Iterator[Found]:
        from adapter_stilts.evaluation.retrieval import evaluate_pairs

        for number, languages in enumerate(pending):
            candidate = self.candidates[number]
            if not languages:
                continue
            composed = candidate.load(self.engine)
            for language in languages:
                result = evaluate_pairs(
                    self.engine,
                    self.target,
                    composed,
                    self.data.languages[language].examples,
                    max_length=self.engine.backbone.sequence_length(candidate.window[0]),
                    batch_tokens=self.batch_tokens,
                )
                yield language, number, result

    def _groups(
        self, pending: list[list[str]]
    ) -> dict[tuple[int, int, tuple[int, ...]], list[str]]:
        """The languages by window and by the compositions that are to be evaluated together."""
        groups: dict[tuple[int, int, tuple[int, ...]], list[str]] = defaultdict(list)
        for language in self.data.languages:
            together: dict[tuple[int, int], list[int]] = defaultdict(list)
            for number, candidate in enumerate(self.candidates):
                if language in pending[number]:
                    together[candidate.window].append(number)
            for window, numbers in together.items():
                groups[(*window, tuple(numbers))].append(language)
        return groups

    def _retrieval(self, pending: list[list[str]]) -> Iterator[Found]:
        from adapter_stilts.evaluation.retrieval import evaluate_retrieval

        for number, languages in enumerate(pending):
            if not languages:
                continue
            composed = self.candidates[number].load(self.engine)
            chosen = self._choice(number)
            for language, result in evaluate_retrieval(
                self.engine,
                composed,
                self.target,
                languages,
                self.split,
                self.asked.data,
                layer=chosen.layer,
                pooling=chosen.pooling,
                limit=self.asked.limit,
                batch_tokens=self.batch_tokens,
            ):
                details = {**result.details, "layer_rule": chosen.rule}
                yield language, number, replace(result, details=details)

    def _choice(self, number: int) -> LayerChoice:
        """The layer that was asked for, or one chosen without the test data and recorded."""
        if number not in self._choices:
            self._choices[number] = self._choose_layer(number)
        return self._choices[number]

    def _choose_layer(self, number: int) -> LayerChoice:
        from adapter_stilts.evaluation.layers import Choosing, LayerChoice, sweep_layers

        asked, store, candidate = self.asked, self.stores[number], self.candidates[number]
        if asked.layer is not None:
            return LayerChoice(asked.layer, asked.pooling, "as asked for", {}, [])
        rule = asked.layer_rule or layer_rule([c.record for c in self.candidates], self.backbone)
        on = get_target(asked.layer_from) if asked.layer_from else None
        now = Choosing(self.target, asked.data, rule, asked.pooling, on)
        place = store.path_of(self.target)
        return now.read_choice(place, store.fingerprint, candidate.identity) or sweep_layers(
            self.engine,
            candidate.load(self.engine),
            now,
            list(self.data.languages),
            folder=store.place(self.target),
            overwrite=asked.overwrite,
            batch_tokens=self.batch_tokens,
        )

    def summary(self, number: int) -> Evaluation:
        """What a composition's folder now says of the languages that were asked for."""
        entries = {lang: self.finished_entry(number, lang) for lang in self.data.languages}
        candidate = self.candidates[number]
        return Evaluation(
            task=self.target.name,
            split=self.split,
            composition=candidate.expression,
            seeds_of=candidate.seeds_of,
            seed=candidate.seed,
            folder=self.places[number],
            metric=primary(self.target.metric),
            languages={lang: entry for lang, entry in entries.items() if entry is not None},
            missing=self.data.missing,
            outside=outside_suites(self.target, self.data.languages),
        )
