"""Standard errors, intervals and choices, against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adapter_stilts.study.contrast import (
    Design,
    Rule,
    contrast,
    detectable_difference,
    effects_count,
    equivalence_p,
    holm,
    regret,
)
from adapter_stilts.study.draws import ITEMS, LANGUAGES, STAGES, Best, Draws, Estimate
from adapter_stilts.study.sample import Floats, Sample, Target


def counts(scores: Floats) -> Floats:
    """Items' scores, (S1, S2, items), as counts."""
    return np.stack([scores, np.ones_like(scores)], axis=-1)


def sample(arms: dict[str, dict[str, Floats]], *, parallel: bool = True) -> Sample:
    """Every item a cluster by itself."""
    sizes = {lang: each.shape[2] for lang, each in next(iter(arms.values())).items()}
    made = {arm: {lang: counts(each) for lang, each in by.items()} for arm, by in arms.items()}
    return Sample({lang: np.arange(size) for lang, size in sizes.items()}, made, parallel)


def test_the_paired_interval_of_one_language_is_that_of_the_t_test() -> None:
    random = np.random.default_rng(3)
    first = (random.random((1, 1, 400)) < 0.7).astype(float)
    second = np.where(random.random(first.shape) < 0.8, first, 1 - first)
    target = Target("t", sample({"a": {"en": first}, "b": {"en": second}}))
    found = contrast(Draws([target], count=4000), "a", "b").overall
    reference = stats.ttest_rel(first.ravel(), second.ravel())
    low, high = reference.confidence_interval()
    assert found.value == pytest.approx(100 * (first.mean() - second.mean()))
    assert (found.low, found.high) == pytest.approx((100 * low, 100 * high), rel=0.05)
    assert found.df == 399
    assert found.p == pytest.approx(reference.pvalue, rel=0.2)


def test_items_are_drawn_once_for_all_languages_of_a_parallel_test_set() -> None:
    random = np.random.default_rng(0)
    right = random.normal(size=(1, 1, 300))
    same = {f"l{k}": right for k in range(9)}
    none = {lang: np.zeros_like(each) for lang, each in same.items()}
    arms = {"a": same, "b": none}
    together = contrast(Draws([Target("t", sample(arms))]), "a", "b").overall
    apart = contrast(Draws([Target("t", sample(arms, parallel=False))]), "a", "b").overall
    assert together.error == pytest.approx(100 * stats.sem(right.ravel()), rel=0.06)
    assert apart.error == pytest.approx(together.error / 3, rel=0.1)


def test_what_is_drawn_is_the_article() -> None:
    articles = np.repeat(np.arange(20), 15)
    effect = np.random.default_rng(1).normal(size=20)
    a = counts(effect[articles][None, None])
    arms = {"a": {"en": a}, "b": {"en": counts(np.zeros((1, 1, 300)))}}
    found = contrast(Draws([Target("t", Sample({"en": articles}, arms, True))]), "a", "b").overall
    assert found.error == pytest.approx(100 * stats.sem(effect), rel=0.06)
    assert found.df == 19


def test_f1_is_recomputed_from_the_counts_of_the_sentences_drawn() -> None:
    random = np.random.default_rng(2)
    tp, wrong = random.poisson(3, 200), random.poisson(2, 200)
    a = np.stack([2 * tp, 2 * tp + wrong], axis=-1)[None, None].astype(float)
    arms = {"a": {"en": a}, "b": {"en": np.zeros_like(a)}}
    found = contrast(
        Draws([Target("t", Sample({"en": np.arange(200)}, arms, False))]), "a", "b"
    ).overall
    assert found.value == pytest.approx(200 * tp.sum() / (2 * tp.sum() + wrong.sum()))
    without = 200 * (tp.sum() - tp) / (2 * (tp.sum() - tp) + wrong.sum() - wrong)
    jackknife = math.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    assert found.error == pytest.approx(jackknife, rel=0.06)


def test_what_is_peculiar_to_seed_and_item_is_counted_once() -> None:
    """Nothing but noise of each answer: drawing seeds and items together counts it thrice."""
    random = np.random.default_rng(5)
    errors = []
    for _ in range(40):
        a = random.normal(size=(3, 3, 100))
        target = Target("t", sample({"a": {"en": a}, "b": {"en": np.zeros_like(a)}}))
        errors.append(contrast(Draws([target], count=400), "a", "b").overall.error)
    truth = 100 / math.sqrt(900)
    assert truth * 0.95 < np.sqrt(np.mean(np.square(errors))) < truth * 1.35


def test_three_seeds_leave_two_degrees_of_freedom() -> None:
    effect = np.array([-0.3, 0.1, 0.5])
    a = effect[None, :, None] + np.random.default_rng(0).normal(scale=0.01, size=(1, 1, 500))
    target = Target("t", sample({"a": {"en": a}, "b": {"en": np.zeros((1, 1, 500))}}))
    found = contrast(Draws([target], count=4000), "a", "b").overall
    assert found.error == pytest.approx(100 * stats.sem(effect), rel=0.05)
    assert found.df == pytest.approx(2, rel=0.02)
    assert found.noise[STAGES[1]] > 100 * found.noise[ITEMS] / 5
    assert STAGES[0] not in found.noise


def test_a_target_of_one_seed_stands_beside_one_of_three() -> None:
    random = np.random.default_rng(0)
    several, one = (
        {arm: {f"l{k}": random.random((1, seeds, 50)) for k in range(7)} for arm in "ab"}
        for seeds in (3, 1)
    )
    targets = [Target("several", sample(several)), Target("one", sample(one))]
    found = contrast(Draws(targets, random_languages=True), "a", "b")
    alone = contrast(Draws(targets[1:], random_languages=True), "a", "b")
    # What is left of computing with rounded numbers is no noise of seeds.
    assert found.targets["one"].noise.get(STAGES[1], 0.0) < 1e-9
    assert found.targets["one"].error == pytest.approx(alone.overall.error, rel=0.1)


def test_languages_are_fixed_unless_they_are_drawn() -> None:
    effect = np.array([0.0, 0.2, 0.9, 0.4, 0.3, 0.5, 0.1, 0.6])
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(1, 1, 50))
    arms = {
        "a": {f"l{k}": noise + each for k, each in enumerate(effect)},
        "b": {f"l{k}": np.zeros((1, 1, 50)) for k in range(8)},
    }
    target = Target("t", sample(arms))
    fixed = contrast(Draws([target]), "a", "b").overall
    drawn = contrast(Draws([target], random_languages=True), "a", "b").overall
    assert fixed.error < 0.1
    assert drawn.error == pytest.approx(100 * stats.sem(effect), rel=0.06)
    assert drawn.df == pytest.approx(7, rel=0.01)
    assert LANGUAGES in drawn.noise and LANGUAGES not in fixed.noise


def _chosen_from_two() -> Target:
    random = np.random.default_rng(4)
    test = {"a": 0.9, "b": 0.5, "f": 0.7}
    arms = {
        arm: {"en": (random.random((1, 1, 4000)) < rate).astype(float)}
        for arm, rate in test.items()
    }
    alike = random.random((2, 1, 1, 100)) < 0.6  # on dev, a and b are nearly as good
    alike[0, 0, 0, :] = alike[1, 0, 0, :]
    alike[0, 0, 0, :6] = [1, 1, 1, 0, 0, 0]
    alike[1, 0, 0, :6] = [0, 0, 0, 1, 1, 0]
    dev = {name: {"en": each.astype(float)} for name, each in zip("ab", alike, strict=True)}
    return Target("t", sample(arms), sample(dev))


def test_the_best_single_is_chosen_in_every_draw() -> None:
    target = _chosen_from_two()
    draws, best = Draws([target]), Best(("a", "b"))
    found = contrast(draws, best, "f")
    fixed = contrast(Draws([target]), "a", "f").overall
    assert found.overall.value == fixed.value  # English dev prefers a, by one answer
    share = draws.choose(best, 0, draws.factors).mean()  # of b
    assert 0.2 < share < 0.5
    # In a third of the draws it is the arm that is 40 points worse.
    expected = 40 * math.sqrt(share * (1 - share))
    assert found.overall.error == pytest.approx(expected, rel=0.1)
    assert fixed.error < 2


def test_a_single_of_one_seed_varies_like_the_one_that_has_three() -> None:
    three = np.clip(0.6 + 0.05 * np.array([-1.0, 0.0, 1.0]), 0, 1)[None, :, None]
    arms = {"many": three + np.zeros((1, 3, 200)), "one": np.full((1, 1, 200), 0.6)}
    fixed = {"f": np.full((1, 3, 200), 0.5)}
    dev = {"many": np.full((1, 1, 50), 0.4), "one": np.full((1, 1, 50), 0.5)}
    test = {arm: {"en": each} for arm, each in {**arms, **fixed}.items()}
    target = Target("t", sample(test), sample({arm: {"en": each} for arm, each in dev.items()}))
    found = contrast(Draws([target], count=4000), Best(("many", "one")), "f").overall
    # Dev chooses the one with a seed: by how much another one would differ, the other says.
    assert found.value == pytest.approx(10.0)
    assert found.noise[STAGES[1]] == pytest.approx(5.0, rel=0.05)
    best = contrast(Draws([target], count=4000), "many", "f").overall
    assert best.noise[STAGES[1]] == pytest.approx(5.0 / math.sqrt(3), rel=0.05)


def test_one_target_can_be_left_out() -> None:
    first, second = (
        Target(name, sample({"a": {"en": np.full((1, 1, 9), rate)}, "b": {"en": zero}}))
        for zero in [np.zeros((1, 1, 9))]
        for name, rate in (("x", 0.5), ("y", 0.1))
    )
    found = contrast(Draws([first, second]), "a", "b")
    assert found.overall.value == pytest.approx(30)
    assert {name: each.value for name, each in found.without.items()} == pytest.approx(
        {"x": 10, "y": 50}
    )
    # Nine items that are alike are few.
    assert found.overall.p == pytest.approx(2 * (1 - 30 / 130) ** 9)


def test_regret_of_rules() -> None:
    random = np.random.default_rng(4)
    targets = []
    for name, rates in (("x", {"a": 0.9, "b": 0.5}), ("y", {"a": 0.6, "b": 0.7})):
        arms = {
            k: {"en": (random.random((1, 1, 2000)) < v).astype(float)} for k, v in rates.items()
        }
        dev = {k: {"en": np.full((1, 1, 50), v)} for k, v in rates.items()}
        targets.append(Target(name, sample(arms), sample(dev)))
    rules: dict[str, Rule] = {"a": "a", "dev": Best(("a", "b")), "given": {"x": "b", "y": "b"}}
    found = regret(Draws(targets), rules, ["a", "b"])
    assert found["dev"].value == 0 and found["dev"].error == 0
    assert found["a"].value == pytest.approx(5, abs=1.5)
    assert found["given"].value == pytest.approx(20, abs=1.5)
    assert found["given"].error == pytest.approx(50 * math.sqrt((0.09 + 0.25) / 2000), rel=0.2)
    with pytest.raises(ValueError, match="y"):
        regret(Draws(targets), {"half": {"x": "a"}}, ["a", "b"])


def test_holm_goes_on_until_a_test_fails() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )


def test_equivalence_takes_two_tests() -> None:
    narrow = Estimate(0.2, 0.3, 50, 0, 0, 0.95, {})
    assert equivalence_p(narrow) == pytest.approx(stats.t.sf(0.8 / 0.3, 50))
    wide = Estimate(0.2, 2.0, 50, 0, 0, 0.95, {})
    assert equivalence_p(wide) > 0.3
    with pytest.raises(ValueError, match="margin"):
        equivalence_p(narrow, 0)


@pytest.mark.parametrize("items", [4, 60, 2000])
def test_items_that_are_all_alike_do_not_show_that_all_others_are(items: int) -> None:
    """The exact binomial interval of "none of so many" is what they show."""
    right, wrong = np.ones((1, 1, items)), np.zeros((1, 1, items))
    target = Target("t", sample({"a": {"en": right}, "b": {"en": right}, "c": {"en": wrong}}))
    exact = stats.binomtest(0, items).proportion_ci(method="exact").high
    same = contrast(Draws([target], count=100), "a", "b").overall
    assert same.value == 0 and (same.low, same.high) == pytest.approx((-100 * exact, 100 * exact))
    # That one in a hundred items differs is refuted by 300 of them, not by 4.
    assert equivalence_p(same) == pytest.approx(0.99**items)
    apart = contrast(Draws([target], count=100), "a", "c").overall
    assert (apart.low, apart.high) == pytest.approx((100 - 200 * exact, 100))
    assert apart.p == pytest.approx(min(1.0, 2 * 0.5**items)), "the sign test"


def test_an_effect_is_counted_in_so_many_languages_at_least() -> None:
    p = [0.001, 0.004, 0.01, 0.04, 0.2]
    # 5 * .001, 4 * .004, 3 * .01, 2 * .04: the fourth is more than 0.05.
    assert effects_count(p) == 3
    assert effects_count([0.2, 0.9]) == 0


def test_a_hundred_items_in_twelve_correlated_languages() -> None:
    sd = 100 * math.sqrt(0.6 * 0.4)
    assert Design(100, 12, sd, correlation=0.52).error == pytest.approx(3.7, abs=0.05)
    assert Design(100, 12, sd).error == pytest.approx(1.4, abs=0.05)


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    design = Design(200, 1, 30.0, target_seeds=4, target_sd=3.0)
    difference = detectable_difference(design)
    random = np.random.default_rng(0)
    # The sum of two variances, each estimated with its own degrees of freedom.
    true = [variance for variance, _ in design.components]
    found = random.normal(difference, design.error, 20_000)
    items = true[0] * random.chisquare(199, 20_000) / 199
    seeds = true[2] * random.chisquare(3, 20_000) / 3
    df = (items + seeds) ** 2 / (items**2 / 199 + seeds**2 / 3)
    power = np.mean(np.abs(found) > np.sqrt(items + seeds) * stats.t.ppf(0.975, df))
    assert power == pytest.approx(0.8, abs=0.06)
    assert math.isinf(detectable_difference(Design(200, 1, 30.0, target_sd=3.0)))
    with pytest.raises(ValueError, match="design"):
        Design(0, 1, 30.0)


def test_samples_that_do_not_belong_together_are_refused() -> None:
    en = np.ones((1, 1, 5))
    with pytest.raises(ValueError, match="'b'"):
        sample({"a": {"en": en}, "b": {"de": en}})
    with pytest.raises(ValueError, match="'b'"):
        sample({"a": {"en": en}, "b": {"en": np.ones((1, 1, 4))}})
    with pytest.raises(ValueError, match="one cluster"):
        sample({"a": {"en": np.ones((1, 1, 1))}})
