"""Modular cross-lingual transfer: train a task once, in English, on a frozen encoder.

from adapter_stilts import train_adapter, load

trained = train_adapter("squad", backbone="embedded", data="sample", recipe="demo")
load(trained.path).answer("Wo liegt Uppsala?", "Uppsala liegt nördlich von Stockholm.")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Evaluation",
    "Explanation",
    "Module",
    "Recipe",
    "Recommendation",
    "Trained",
    "compare",
    "evaluate",
    "evaluate_suite",
    "explain",
    "fuse",
    "get_target",
    "get_task",
    "load",
    "merge",
    "pull",
    "push",
    "recommend",
    "train_adapter",
    "train_language",
    "train_multitask",
    "train_seeds",
    "train_target",
    "write_explanation",
]

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import explain
    from adapter_stilts.evaluation.explanation import Explanation
    from adapter_stilts.evaluation.run import evaluate
    from adapter_stilts.evaluation.suite import evaluate_suite
    from adapter_stilts.evaluation.summary import Evaluation
    from adapter_stilts.report.explain import write_explanation
    from adapter_stilts.study.compare import Comparison, compare
    from adapter_stilts.study.recommendation import Recommendation
    from adapter_stilts.study.recommender import recommend
    from adapter_stilts.tasks.registry import get_target, get_task
    from adapter_stilts.training.fuse import fuse
    from adapter_stilts.training.language import train_language
    from adapter_stilts.training.merge import merge
    from adapter_stilts.training.multitask import train_multitask
    from adapter_stilts.training.recipe import Recipe
    from adapter_stilts.training.run import Trained, train_adapter
    from adapter_stilts.training.seeds import train_seeds
    from adapter_stilts.training.target import train_target
    from adapter_stilts.zoo.hub.pull import pull
    from adapter_stilts.zoo.hub.push import push
    from adapter_stilts.zoo.load import load
    from adapter_stilts.zoo.module import Module

_HOMES = {
    "Module": "adapter_stilts.zoo.module",
    "load": "adapter_stilts.zoo.load",
    "Recipe": "adapter_stilts.training.recipe",
    "Trained": "adapter_stilts.training.run",
    "train_adapter": "adapter_stilts.training.run",
    "train_language": "adapter_stilts.training.language",
    "train_multitask": "adapter_stilts.training.multitask",
    "train_seeds": "adapter_stilts.training.seeds",
    "train_target": "adapter_stilts.training.target",
    "get_target": "adapter_stilts.tasks.registry",
    "get_task": "adapter_stilts.tasks.registry",
    "Comparison": "adapter_stilts.study.compare",
    "compare": "adapter_stilts.study.compare",
    "Recommendation": "adapter_stilts.study.recommendation",
    "recommend": "adapter_stilts.study.recommender",
    "Evaluation": "adapter_stilts.evaluation.summary",
    "evaluate": "adapter_stilts.evaluation.run",
    "evaluate_suite": "adapter_stilts.evaluation.suite",
    "explain": "adapter_stilts.evaluation.explain",
    "Explanation": "adapter_stilts.evaluation.explanation",
    "fuse": "adapter_stilts.training.fuse",
    "merge": "adapter_stilts.training.merge",
    "pull": "adapter_stilts.zoo.hub.pull",
    "push": "adapter_stilts.zoo.hub.push",
    "write_explanation": "adapter_stilts.report.explain",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: torch and transformers take seconds."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'adapter_stilts' has no attribute '{name}'")


def __dir__() -> list[str]:
    """What is here, imported yet or not."""
    return sorted({*globals(), *__all__})
