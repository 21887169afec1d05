"""Modular cross-lingual transfer: train a task once, in English, on a frozen encoder.

from adapter_stilts import train_adapter, load

trained = train_adapter("squad", backbone="embedded", data="sample", recipe="demo")
load(trained.path).answer("Wo liegt Uppsala?", "Uppsala liegt nördlich von Stockholm.")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from adapter_stilts.compositions import MergeTerms as MergeTerms
    from adapter_stilts.compositions import arrow as arrow
    from adapter_stilts.compositions import average as average
    from adapter_stilts.compositions import compose as compose
    from adapter_stilts.compositions import dare_ties as dare_ties
    from adapter_stilts.compositions import fusion as fusion
    from adapter_stilts.compositions import linear as linear
    from adapter_stilts.compositions import slerp as slerp
    from adapter_stilts.compositions import stack as stack
    from adapter_stilts.compositions import task_arithmetic as task_arithmetic
    from adapter_stilts.compositions import ties as ties
    from adapter_stilts.compositions import uniform as uniform
    from adapter_stilts.display import Picture as Picture
    from adapter_stilts.engine.methods import Method as Method
    from adapter_stilts.engine.methods import MethodOptions as MethodOptions
    from adapter_stilts.errors import FailureError as FailureError
    from adapter_stilts.errors import InterruptedTrainingError as InterruptedTrainingError
    from adapter_stilts.errors import NotFiniteError as NotFiniteError
    from adapter_stilts.errors import RefusedError as RefusedError
    from adapter_stilts.errors import UserError as UserError
    from adapter_stilts.evaluation.data import NoDataError as NoDataError
    from adapter_stilts.evaluation.explain import Explanation as Explanation
    from adapter_stilts.evaluation.explain import explain as explain
    from adapter_stilts.evaluation.explain import write_explanation as write_explanation
    from adapter_stilts.evaluation.options import ComparisonOptions as ComparisonOptions
    from adapter_stilts.evaluation.options import EvaluationOptions as EvaluationOptions
    from adapter_stilts.evaluation.options import ExplanationOptions as ExplanationOptions
    from adapter_stilts.evaluation.options import ReadingOptions as ReadingOptions
    from adapter_stilts.evaluation.options import SuiteOptions as SuiteOptions
    from adapter_stilts.evaluation.run import Evaluation as Evaluation
    from adapter_stilts.evaluation.run import Evaluations as Evaluations
    from adapter_stilts.evaluation.run import evaluate as evaluate
    from adapter_stilts.evaluation.suite import SuiteEvaluation as SuiteEvaluation
    from adapter_stilts.evaluation.suite import evaluate_suite as evaluate_suite
    from adapter_stilts.keywords import UnknownKeywordError as UnknownKeywordError
    from adapter_stilts.merging.methods import merge_method as merge_method
    from adapter_stilts.plugins import adapter_method as adapter_method
    from adapter_stilts.plugins import include as include
    from adapter_stilts.plugins import metric as metric
    from adapter_stilts.plugins import register as register
    from adapter_stilts.study.compare import Comparison as Comparison
    from adapter_stilts.study.compare import compare as compare
    from adapter_stilts.study.recommendation import Recommendation as Recommendation
    from adapter_stilts.study.recommendation import RecommendOptions as RecommendOptions
    from adapter_stilts.study.recommender import recommend as recommend
    from adapter_stilts.tasks.registry import get_target as get_target
    from adapter_stilts.tasks.registry import get_task as get_task
    from adapter_stilts.tasks.spec import FileData as FileData
    from adapter_stilts.tasks.spec import HubData as HubData
    from adapter_stilts.tasks.spec import HubSplit as HubSplit
    from adapter_stilts.tasks.spec import Reading as Reading
    from adapter_stilts.tasks.spec import Retrieval as Retrieval
    from adapter_stilts.tasks.spec import Source as Source
    from adapter_stilts.tasks.spec import TargetSpec as TargetSpec
    from adapter_stilts.tasks.spec import TaskSpec as TaskSpec
    from adapter_stilts.training.merge import merge as merge
    from adapter_stilts.training.options import DataOptions as DataOptions
    from adapter_stilts.training.options import MergeOptions as MergeOptions
    from adapter_stilts.training.options import RecipeChanges as RecipeChanges
    from adapter_stilts.training.options import RunOptions as RunOptions
    from adapter_stilts.training.options import TrainingOptions as TrainingOptions
    from adapter_stilts.training.recipe import Recipe as Recipe
    from adapter_stilts.training.run import Series as Series
    from adapter_stilts.training.run import Trained as Trained
    from adapter_stilts.training.run import train_adapter as train_adapter
    from adapter_stilts.training.run import train_language as train_language
    from adapter_stilts.training.run import train_multitask as train_multitask
    from adapter_stilts.training.run import train_seeds as train_seeds
    from adapter_stilts.training.target import fuse as fuse
    from adapter_stilts.training.target import train_target as train_target
    from adapter_stilts.zoo.module import Answers as Answers
    from adapter_stilts.zoo.module import Module as Module
    from adapter_stilts.zoo.predict import InputError as InputError
    from adapter_stilts.zoo.predict import InputFields as InputFields
    from adapter_stilts.zoo.predict import predict as predict
    from adapter_stilts.zoo.pull import Pulled as Pulled
    from adapter_stilts.zoo.pull import pull as pull
    from adapter_stilts.zoo.push import Pushed as Pushed
    from adapter_stilts.zoo.push import push as push
    from adapter_stilts.zoo.resolve import load as load

with open(__file__, encoding="utf-8") as _file:  # noqa: PTH123 - nothing is imported for it
    _IMPORTS = [_line.split() for _line in _file if _line.startswith("    from adapter_stilts.")]
_HOMES = {_words[-1]: _words[1] for _words in _IMPORTS}
"""The public names by the file that each is in, as they are imported above for type checkers."""
__all__ = sorted(_HOMES)

_FOR_PLUGINS = ("adapter_stilts.errors", "adapter_stilts.plugins", "adapter_stilts.tasks.spec")
"""Where the plug-ins that the environment names are not needed yet."""


def __getattr__(name: str) -> Any:
    """Imports on first use: torch and transformers take seconds."""
    import importlib
    import sys

    if name in _HOMES:
        if not _HOMES[name].startswith(_FOR_PLUGINS):
            from adapter_stilts.plugins import load_plugins

            load_plugins()
        return getattr(importlib.import_module(_HOMES[name]), name)
    # With name and object, Python asks "Did you mean …?"
    what = f"module 'adapter_stilts' has no attribute '{name}'"
    raise AttributeError(what, name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    """The public names, imported yet or not."""
    return sorted([*__all__, "__version__"])
