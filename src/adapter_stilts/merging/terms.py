"""What a merge says of its parts: how, with which weights, how sparse."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.merging.registry import MERGES, MergeMethod

LORA_WAYS = ("products", "factors")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Terms:
    """What is written in a merge's brackets besides the modules.

    Attributes:
        weights: one for every module; none for the method's own.
        density: the fraction of values that sparse methods keep; 0 for the method's own.
        lora: whether LoRAs are merged by their products or by their factors.
        rank: of a merged LoRA; 0 for the largest of its sources.
        seed: of what is dropped at random.
    """

    weights: tuple[float, ...] = ()
    density: float = 0.0
    lora: str = "products"
    rank: int = 0
    seed: int = 0

    def options(self) -> tuple[str, ...]:
        """The terms that are written after the modules: those that are not as by default."""
        pairs = (
            ("density", number(self.density), self.density != 0),
            ("lora", self.lora, self.lora != "products"),
            ("rank", str(self.rank), self.rank != 0),
            ("seed", str(self.seed), self.seed != 0),
        )
        return tuple(f"{name}={value}" for name, value, given in pairs if given)

    def in_order(self, order: Sequence[int]) -> Terms:
        """The same terms for parts in another order."""
        return replace(self, weights=tuple(self.weights[place] for place in order if self.weights))


def number(value: float) -> str:
    """The shortest text of a number that reads as the same number.

    >>> number(1.0), number(0.3)
    ('1', '0.3')
    """
    return repr(float(value)).removesuffix(".0")


def read_options(given: Mapping[str, str]) -> Terms:
    """Terms from `density=0.3` and the like, as text.

    Raises:
        UserError: no such option, or not a number.
    """
    terms = Terms()
    for name, text in given.items():
        if name == "lora":
            terms = replace(terms, lora=text)
        elif name == "density" and NUMBER.fullmatch(text):
            terms = replace(terms, density=check_density(float(text)))
        elif name == "rank" and re.fullmatch(r"\d{1,9}", text):
            terms = replace(terms, rank=int(text))
        elif name == "seed" and re.fullmatch(r"\d{1,9}", text):
            terms = replace(terms, seed=int(text))
        elif name in ("density", "rank", "seed"):
            raise UserError(f"{name} is a number, not '{text}'")
        else:
            raise unknown("option of a merge", name, ("density", "lora", "rank", "seed"))
    return terms


def check_density(value: float) -> float:
    """The fraction of values that are kept.

    Raises:
        UserError: not a fraction, or nothing.
    """
    if not 0 < value <= 1:
        raise UserError(f"density lies above 0 and up to 1, not at {number(value)}")
    return value


def check_terms(method: MergeMethod, terms: Terms, count: int) -> Terms:
    """The terms of a merge of `count` modules in their one form: defaults are left out.

    Raises:
        UserError: too many modules, a wrong number of weights or weights that add up to nothing,
            or an option that says nothing here.
    """
    name = method.name
    if count < 2:
        raise UserError(f"{name} needs at least 2 modules, not {count}")
    if method.most and count > method.most:
        raise UserError(f"{name} merges {method.most} modules, not {count}")
    if terms.lora not in LORA_WAYS:
        raise unknown("way of merging LoRAs", terms.lora, LORA_WAYS)
    if terms.lora == "factors" and terms.rank:
        raise UserError("factors keep the rank of their modules: rank goes with lora=products")
    if terms.density and not method.density:
        raise UserError(f"{name} keeps all values: density goes with {_with('density')}")
    if terms.seed and not method.chance:
        raise UserError(f"{name} leaves nothing to chance: seed goes with {_with('chance')}")
    density = check_density(terms.density) if terms.density else 0.0
    return replace(
        terms,
        weights=_check_weights(method, terms.weights, count),
        density=0.0 if density == method.density else density,
    )


def _with(trait: str) -> str:
    """The merge methods that have a trait, for a message."""
    return " and ".join(name for name, method in MERGES.items() if getattr(method, trait))


def _check_weights(
    method: MergeMethod, weights: tuple[float, ...], count: int
) -> tuple[float, ...]:
    if not weights:
        return ()
    if not method.weighted:
        raise UserError(f"{method.name} has no weights: linear is the weighted mean")
    if len(weights) != count:
        raise UserError(f"{len(weights)} weights for {count} modules")
    if not all(map(math.isfinite, weights)):
        raise UserError("weights must be finite numbers")
    if not any(weights):
        raise UserError("all weights are 0: nothing would be left")
    if method.mean and abs(sum(weights)) < 1e-6 * max(map(abs, weights)):
        raise UserError(f"{method.name}: weights that add up to 0 have no mean")
    if not method.signed and min(weights) < 0:
        raise UserError(f"{method.name} goes between modules: its weights are not below 0")
    usual = len(set(weights)) == 1 and (method.mean or weights[0] == 1)
    return () if usual else weights


def full_weights(method: MergeMethod, terms: Terms, count: int) -> tuple[float, ...]:
    """The weights that count: as given, or the method's own; those of a mean add up to 1."""
    weights = terms.weights or (1.0,) * count
    total = sum(weights) if method.mean else 1.0
    return tuple(weight / total for weight in weights)
