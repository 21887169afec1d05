"""What a recommendation says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import Any, Literal, TypedDict, get_args

from adapter_stilts.display import Picture, Result, bars
from adapter_stilts.engine.methods import DEFAULT_METHOD
from adapter_stilts.errors import counted

Rule = Literal["logme", "text", "parameters"]
RULES: tuple[Rule, ...] = get_args(Rule)
DRAWN: tuple[Rule, ...] = ("logme", "text")
"""Those whose scores vary with the examples that are drawn."""
SURE = 0.95
OnStep = Callable[[str], None]


class RecommendOptions(TypedDict, total=False):
    """The options of `recommend`.

    Attributes:
        method: the method of the modules that are taken from the zoo or from a folder.
        backbone: chooses among modules of one name, and says where the backbone lies if it has
            moved.
        data: where the target's data and that of the modules' tasks lie: `hub`, `sample` (bundled),
            or a folder with official files. By default it is the folder that `ADSTILTS_DATA` names,
            or else the Hub.
        source_lang: the language of the target's examples.
        examples: so many examples of the target's training data are drawn at random.
        rules: the rules that are asked; also as one text, with commas between.
        probe: train shortly on every module, longer on the better half, and so on: the dev scores
            of these trainings decide the order.
        draws: so often half of the examples are drawn, to see how sure the ranking is.
        seed: the number that decides what is drawn.
        precision: the precision of the frozen trunk: `auto`, `bf16` or `fp32`.
        on_step: a function that is told what is being done.
    """

    method: str
    backbone: str | PathLike[str] | None
    data: str | PathLike[str] | None
    source_lang: str
    examples: int
    rules: Sequence[Rule] | str
    probe: bool
    draws: int
    seed: int
    precision: str
    on_step: OnStep | None


@dataclass(frozen=True)
class Asked:
    """The same with every default."""

    method: str = DEFAULT_METHOD
    backbone: str | None = None
    data: str | None = None
    source_lang: str = "en"
    examples: int = 300
    rules: Sequence[Rule] | str = RULES
    probe: bool = False
    draws: int = 100
    seed: int = 0
    precision: str = "auto"
    on_step: OnStep | None = None

    @property
    def names(self) -> list[str]:
        """The rules, also where they are written in one text."""
        if not isinstance(self.rules, str):
            return list(self.rules)
        return [each.strip() for each in self.rules.split(",") if each.strip()]


@dataclass(frozen=True)
class Ranked:
    """One module: what every rule says of it, and its place.

    Attributes:
        module, task, method: which it is.
        scores: by rule, larger being better; rules that can say nothing of it are not there.
        mean_rank: over these rules; the lowest is first.
        first: in what share of draws it is first.
        low, high: 95 % interval of its place over the draws.
        seconds: that were spent on this module alone.
        probe: dev scores of short trainings on it, by steps; dev is of the language of training.
    """

    module: str
    task: str
    method: str
    scores: Mapping[Rule, float]
    mean_rank: float
    first: float
    low: int
    high: int
    seconds: float
    probe: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Recommendation(Result):
    """Modules in the order in which they are worth trying for a target.

    Attributes:
        target, backbone: for what, on what.
        examples: of the target, that the rules saw.
        draws: how often half of them were drawn.
        modules: the best one first.
        plain: LogME of the backbone without any module; None where LogME says nothing.
        silent: why a rule says nothing, of any or of some modules.
        seconds: by rule, all modules together.
    """

    target: str
    backbone: str
    examples: int
    draws: int
    modules: tuple[Ranked, ...]
    plain: float | None
    silent: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def best(self) -> Ranked:
        """The first one."""
        return self.modules[0]

    @property
    def above_plain(self) -> int | None:
        """How many modules LogME puts above the backbone alone; None where it says nothing."""
        told = [each.scores["logme"] for each in self.modules if "logme" in each.scores]
        if self.plain is None or not told:
            return None
        return sum(score > self.plain for score in told)

    @property
    def answer(self) -> str:
        """One sentence, which claims no more than there is."""
        if self.above_plain == 0:
            return (
                "LogME puts no module above the backbone alone, so a training without one may do "
                f"as well: try that, too (train-target without --on); {self._first}"
            )
        return self._first

    @property
    def _first(self) -> str:
        """Which module is first, and how sure that is."""
        best, count = self.best, len(self.modules)
        if count == 1:
            return f"{best.module} is the only module, so there is nothing to rank"
        if best.probe:
            return self._probed
        if not any(rule in each.scores for each in self.modules for rule in DRAWN):
            return (
                f"{best.module} is predicted to be best by one short training; how sure that is, "
                "no draw of examples shows: ask other rules, too (--by), or train shortly on each "
                "(--probe)"
            )
        share = f"{best.module} is predicted to be best, in {100 * best.first:.0f} % of draws"
        if self.disagreeing:
            said = ", ".join(f"{name} by {rule}" for rule, name in self.disagreeing.items())
            return (
                f"{share}; but the rules do not agree, their first ones being {said}: train on "
                "each of these to know (--probe does so shortly)"
            )
        if best.first >= SURE:
            return (
                f"{share}: other examples would hardly change that, but whether the rules are "
                "right only a training shows"
            )
        if best.high >= count:
            return f"{share}: these examples do not tell the modules apart; train on several"
        tried = [each.module for each in self.modules[: max(2, min(3, best.high))]]
        return (
            f"{share}, and among the first {best.high} in 95 %: train on {' and '.join(tried)} to "
            "know (--probe does so shortly)"
        )

    @property
    def _probed(self) -> str:
        """What short trainings say. On few examples, several modules often score the same."""
        best, steps = self.best, max(self.best.probe)
        score = f"{best.probe[steps]:.1f} on dev after {counted(steps, 'step')}"
        alike = [e.module for e in self.modules if e.probe.get(steps) == best.probe[steps]]
        if len(alike) > 1:
            return (
                f"{', '.join(alike[:-1])} and {alike[-1]} came out of the short trainings alike, "
                f"with {score}: {best.module} stands first by the rules alone"
            )
        return (
            f"{best.module} came out of the short trainings first, with {score}; whether it stays "
            "first in a long training, and in other languages, they do not show"
        )

    @property
    def disagreeing(self) -> dict[str, str]:
        """The first module by every rule, where they are not one; else nothing."""
        found = {
            str(rule): max(told, key=lambda each: each.scores[rule]).module
            for rule in RULES
            if (told := [each for each in self.modules if rule in each.scores])
        }
        return found if len(set(found.values())) > 1 else {}

    def summary(self) -> str:
        """The answer in one sentence."""
        return f"{self.target}: {self.answer}"

    def records(self) -> list[dict[str, Any]]:
        """A row a module, the best one first."""
        return [
            {
                "module": each.module,
                "task": each.task,
                "method": each.method,
                **{str(rule): score for rule, score in each.scores.items()},
                "mean rank": each.mean_rank,
                "first": each.first,
                "low": each.low,
                "high": each.high,
                "seconds": each.seconds,
            }
            for each in self.modules
        ]

    def plot(self) -> Picture:
        """In what share of the draws each module is first."""
        title = f"{self.target}: share of {self.draws} draws in which a module is first"
        drawn = bars(self.records(), label="module", value="first", title=title)
        return Picture.from_vega_lite(drawn)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        modules = [
            {**asdict(each), "probe": {str(n): score for n, score in each.probe.items()}}
            for each in self.modules
        ]
        said = {"answer": self.answer, "disagreeing": self.disagreeing, "modules": modules}
        return {**asdict(self), **said}
