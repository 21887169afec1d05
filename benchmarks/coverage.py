"""How often the intervals of a comparison hold the true difference, by simulation.

Answers are drawn from models whose true difference is known, with languages that agree with each
other as translated test sets do; then the interval is computed as `adstilts compare` and a study
compute it. Some minutes of one core; started again, it goes on with the worlds that are not done:

python benchmarks/coverage.py
python benchmarks/coverage.py --page      # docs/results/coverage.md from the record alone
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adapter_stilts.study.contrast import contrast
from adapter_stilts.study.draws import Arm, Best, Draws
from adapter_stilts.study.sample import Floats, Ints, Sample, Target

RECORD = Path("docs/results/records/coverage.json")
PAGE = Path("docs/results/coverage.md")
Random = np.random.Generator


class World(NamedTuple):
    """One simulated comparison, and the true difference of its arms in points."""

    targets: list[Target]
    truth: float
    first: Arm = "a"
    second: Arm = "b"
    random_languages: bool = False


def logistic(values: Floats) -> Floats:
    """Probabilities."""
    return np.asarray(1 / (1 + np.exp(-values)))


def normal(random: Random, sd: float, *shape: int) -> Floats:
    """Normal deviates with a mean of zero."""
    return sd * random.standard_normal(shape)


@functools.cache
def expected(logit: float, sds: tuple[float, ...]) -> float:
    """The mean of a logistic of a normal with those standard deviations (Gauss and Hermite)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = math.sqrt(sum(sd**2 for sd in sds))
    values = logistic(logit + spread * nodes)
    return float((values * weights).sum() / weights.sum())


def answers(
    random: Random,
    logits: dict[str, float],
    *,
    items: int,
    languages: int = 6,
    seeds: tuple[int, int] = (1, 1),
    item_sd: float = 2.0,
    own_sd: float = 1.0,
    arm_sd: float = 0.7,
    stage_sds: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Floats]:
    """Right and wrong answers, (languages, S1, S2, items), by arm.

    An item is as hard in all languages, but for a part of its own in each; arms have items that
    suit them; and every seed of either stage has an arm a little better or worse.
    """
    hard = normal(random, item_sd, 1, 1, 1, items) + normal(random, own_sd, languages, 1, 1, items)
    found = {}
    for arm, logit in logits.items():
        seen = logit + hard + normal(random, arm_sd, 1, 1, 1, items)
        seen = seen + normal(random, stage_sds[0], 1, seeds[0], 1, 1)
        seen = seen + normal(random, stage_sds[1], 1, 1, seeds[1], 1)
        seen = np.broadcast_to(seen, (languages, *seeds, items))
        found[arm] = (random.random(seen.shape) < logistic(seen)).astype(float)
    return found


def sample_of(arms: dict[str, Floats], clusters: Ints | None = None) -> Sample:
    """A parallel test set of scores."""
    languages, items = next(iter(arms.values())).shape[0], next(iter(arms.values())).shape[-1]
    drawn = np.arange(items) if clusters is None else clusters
    return Sample(
        {f"l{k}": drawn for k in range(languages)},
        {
            arm: {
                f"l{k}": np.stack([each[k], np.ones_like(each[k])], axis=-1)
                for k in range(languages)
            }
            for arm, each in arms.items()
        },
        True,
    )


def one_seed(random: Random) -> World:
    """One seed: items alone, in six languages of a translated test set."""
    logits, sds = {"a": 1.0, "b": 0.7}, (2.0, 1.0, 0.7)
    made = answers(random, logits, items=200)
    truth = 100 * (expected(1.0, sds) - expected(0.7, sds))
    return World([Target("t", sample_of(made))], truth)


def few_items(random: Random) -> World:
    """As above, with sixty items in twelve languages."""
    sds = (2.0, 1.0, 0.7)
    made = answers(random, {"a": 1.0, "b": 0.7}, items=60, languages=12)
    truth = 100 * (expected(1.0, sds) - expected(0.7, sds))
    return World([Target("t", sample_of(made))], truth)


def _seeded(random: Random, stage_sds: tuple[float, float], seeds: tuple[int, int]) -> World:
    sds = (2.0, 1.0, 0.7, *stage_sds)
    made = answers(
        random, {"a": 1.0, "b": 0.7}, items=200, seeds=seeds, stage_sds=stage_sds, languages=4
    )
    truth = 100 * (expected(1.0, sds) - expected(0.7, sds))
    return World([Target("t", sample_of(made))], truth)


def three_seeds(random: Random) -> World:
    """Three seeds of the target's training, which vary about as much as the items' mean."""
    return _seeded(random, (0.0, 0.15), (1, 3))


def both_stages(random: Random) -> World:
    """Two seeds of the intermediate modules, crossed with three of the target's."""
    return _seeded(random, (0.1, 0.15), (2, 3))


def quiet_seeds(random: Random) -> World:
    """Five seeds that do not differ but by their luck with each item."""
    return _seeded(random, (0.0, 0.0), (1, 5))


def wild_seeds(random: Random) -> World:
    """Four seeds that vary far more than the items' mean."""
    return _seeded(random, (0.0, 0.6), (1, 4))


def articles(random: Random) -> World:
    """F1 of questions, with 48 articles of five, in four languages of a translated test set."""
    clusters = np.repeat(np.arange(48), 5)
    shift = normal(random, 0.08, 1, 1, 1, 48)[..., clusters]
    base = normal(random, 0.2, 1, 1, 1, 240) + normal(random, 0.15, 1, 1, 1, 48)[..., clusters]
    made = {}
    for arm, mean in (("a", 0.5), ("b", 0.45)):
        own = shift if arm == "a" else 0.0
        made[arm] = mean + base + own + normal(random, 0.25, 4, 1, 1, 240)
    return World([Target("t", sample_of(made, clusters))], 5.0)


def tagging(random: Random) -> World:
    """Micro F1 from the counts of 150 sentences a language, other ones in each language."""
    rates = {"a": 0.75, "b": 0.72}
    clusters: dict[str, Ints] = {}
    arms: dict[str, dict[str, Floats]] = {arm: {} for arm in rates}
    for language in ("l0", "l1", "l2", "l3"):
        gold = 1 + random.poisson(3, 150)
        ease = normal(random, 0.6, 150)
        clusters[language] = np.arange(150)
        for arm, rate in rates.items():
            chance = logistic(math.log(rate / (1 - rate)) + ease + normal(random, 0.4, 150))
            right = random.binomial(gold, chance)
            spurious = random.poisson(0.2 * gold)
            counts = np.stack([2 * right, gold + right + spurious], axis=-1).astype(float)
            arms[arm][language] = counts[None, None]
    truth = 100 * (_micro_f1(rates["a"]) - _micro_f1(rates["b"]))
    return World([Target("t", Sample(clusters, arms, False))], truth)


def _micro_f1(rate: float) -> float:
    recall = expected(math.log(rate / (1 - rate)), (0.6, 0.4))
    return 2 * recall / (1 + recall + 0.2)


def chosen_single(random: Random) -> World:
    """The best of five singles by English dev, against fusion; three of five nearly as good."""
    singles = {"s0": 1.0, "s1": 0.95, "s2": 0.9, "s3": 0.5, "s4": 0.2}
    # English dev is a guide, not the same thing: its order is not quite that of the test.
    on_dev = {"s0": 1.0, "s1": 1.05, "s2": 0.8, "s3": 0.6, "s4": 0.2}
    dev = sample_of(answers(random, on_dev, items=300, languages=1))
    test = sample_of(answers(random, {**singles, "f": 1.1}, items=200, languages=4))
    sds = (2.0, 1.0, 0.7)
    # The truth is that of the choice as a rule: what it reaches in the mean of many dev sets.
    reached = sum(
        share * expected(singles[name], sds) for name, share in _choice_shares(on_dev).items()
    )
    truth = 100 * (reached - expected(1.1, sds))
    return World([Target("t", test, dev)], truth, Best(tuple(singles)), "f")


_SHARES: dict[str, float] = {}


def _choice_shares(on_dev: dict[str, float]) -> dict[str, float]:
    """How often each is chosen, in 4,000 dev sets."""
    if not _SHARES:
        random = np.random.default_rng(99)
        times = dict.fromkeys(on_dev, 0.0)
        for _ in range(4000):
            made = answers(random, on_dev, items=300, languages=1)
            times[max(made, key=lambda name: float(made[name].mean()))] += 1 / 4000
        _SHARES.update(times)
    return _SHARES


def three_targets(random: Random) -> World:
    """The mean of three targets, with two and three seeds; intermediate modules serve all."""
    sds = (2.0, 1.0, 0.7, 0.1, 0.15)
    shared = {arm: normal(random, 0.1, 1, 2, 1, 1) for arm in "ab"}
    targets = []
    for name in ("x", "y", "z"):
        arms = {}
        hard = normal(random, 2.0, 1, 1, 1, 150) + normal(random, 1.0, 3, 1, 1, 150)
        for arm, logit in (("a", 1.0), ("b", 0.7)):
            seen = logit + hard + normal(random, 0.7, 1, 1, 1, 150) + shared[arm]
            seen = seen + normal(random, 0.15, 1, 1, 3, 1)
            arms[arm] = (random.random(seen.shape) < logistic(seen)).astype(float)
        targets.append(Target(name, sample_of(arms)))
    return World(targets, 100 * (expected(1.0, sds) - expected(0.7, sds)))


def random_languages(random: Random) -> World:
    """Ten languages drawn from many, in each of which the difference is another one."""
    sds = (2.0, 1.0, 0.7, 0.3)
    hard = normal(random, 2.0, 1, 1, 1, 200) + normal(random, 1.0, 10, 1, 1, 200)
    arms = {}
    for arm, logit in (("a", 1.0), ("b", 0.7)):
        seen = logit + hard + normal(random, 0.7, 1, 1, 1, 200) + normal(random, 0.3, 10, 1, 1, 1)
        arms[arm] = (random.random(seen.shape) < logistic(seen)).astype(float)
    truth = 100 * (expected(1.0, sds) - expected(0.7, sds))
    return World([Target("t", sample_of(arms))], truth, random_languages=True)


WORLDS: dict[str, Callable[[Random], World]] = {
    each.__name__: each
    for each in (
        one_seed,
        few_items,
        three_seeds,
        both_stages,
        quiet_seeds,
        wild_seeds,
        articles,
        tagging,
        chosen_single,
        three_targets,
        random_languages,
    )
}


def simulate(name: str, times: int, draws: int) -> dict[str, Any]:
    """How often the interval of a world holds its truth, and how wide it is."""
    began = time.process_time()
    held, widths, values, naive = [], [], [], []
    for number in range(times):
        world = WORLDS[name](np.random.default_rng([7, number, *name.encode()]))
        drawn = Draws(world.targets, draws, number, world.random_languages)
        found = contrast(drawn, world.first, world.second).overall
        held.append(found.low <= world.truth <= found.high)
        widths.append((found.high - found.low) / 2)
        values.append(found.value)
        naive.append(abs(found.value - world.truth) <= 1.96 * found.noise["items"])
    return {
        "world": name,
        "what": (WORLDS[name].__doc__ or "").strip(),
        "times": times,
        "draws": draws,
        "truth": round(world.truth, 3),
        "mean": round(float(np.mean(values)), 3),
        "sd": round(float(np.std(values, ddof=1)), 3),
        "half_width": round(float(np.mean(widths)), 3),
        "coverage": round(100 * float(np.mean(held)), 1),
        "items_only": round(100 * float(np.mean(naive)), 1),
        "seconds": round(time.process_time() - began, 1),
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The record as a page."""
    times, draws = rows[0]["times"], rows[0]["draws"]
    low, high = min(r["coverage"] for r in rows), max(r["coverage"] for r in rows)
    lines = [
        "# Do the intervals hold what they say?",
        "",
        f"In {times:,} simulated comparisons of each kind, the 95 % intervals held the true "
        f"difference {low} to {high} % of the times "
        f"(a share of {times:,} has a standard error of "
        f"{100 * math.sqrt(0.95 * 0.05 / times):.1f}).",
        "",
        *_outside(rows),
        "The simulated answers are known to come from arms that differ by so many points, in "
        "languages that agree on which items are hard. *Items only* is what an interval of the "
        "same data would hold that draws the items anew and takes the seeds, the languages and "
        "the choice of the arm as given.",
        "",
        "| comparison | true difference | sd of the estimate | half width | held | items only |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['what'].rstrip('.')} | {row['truth']:.2f} | {row['sd']:.2f} | "
        f"{row['half_width']:.2f} | {row['coverage']:.1f} % | {row['items_only']:.1f} % |"
        for row in rows
    ]
    seconds = sum(row["seconds"] for row in rows)
    lines += [
        "",
        f"{draws} draws each; {seconds / 60:.0f} minutes of one core. Two or three seeds have an "
        "interval that is wide, because so few say little of how much seeds vary: it is Student's, "
        "with as many degrees of freedom as items and seeds have together (Satterthwaite).",
        "",
        "Run again: `python benchmarks/coverage.py`; this page from the "
        "[record](records/coverage.json) alone: `python benchmarks/coverage.py --page`.",
        "",
    ]
    return "\n".join(lines)


def _outside(rows: list[dict[str, Any]]) -> list[str]:
    """Which comparisons are not within 92 to 97 %, and what that means."""
    said = []
    for title, some in (
        ("Too narrow (below 92 %)", [row for row in rows if row["coverage"] < 92]),
        ("Wider than they need be (above 97 %)", [row for row in rows if row["coverage"] > 97]),
    ):
        named = "; ".join(f"{row['what'].rstrip('.')}, {row['coverage']} %" for row in some)
        said += [f"{title}: {named}.", ""] if some else []
    return said


def main() -> None:
    """Writes record and page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--world", choices=WORLDS, help="one of them, printed alone")
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    if args.world:
        print(json.dumps(simulate(args.world, args.times, args.draws), indent=1))
        return
    for name in () if args.page else WORLDS:
        rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else []
        wanted = {"world": name, "times": args.times, "draws": args.draws}
        if any(wanted.items() <= row.items() for row in rows):
            continue
        rows = [row for row in rows if row["world"] != name]
        rows.append(simulate(name, args.times, args.draws))
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
