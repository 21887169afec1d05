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
    "ComparisonOptions",
    "DataOptions",
    "Evaluation",
    "EvaluationOptions",
    "Evaluations",
    "Explanation",
    "FailureError",
    "FileData",
    "HubData",
    "HubSplit",
    "InputError",
    "InputFields",
    "InterruptedTrainingError",
    "MergeOptions",
    "MergeTerms",
    "Method",
    "MethodOptions",
    "Module",
    "NoDataError",
    "NotFiniteError",
    "Picture",
    "Pulled",
    "Pushed",
    "Reading",
    "Recipe",
    "RecipeChanges",
    "Recommendation",
    "RefusedError",
    "Retrieval",
    "RunOptions",
    "Series",
    "Source",
    "SuiteEvaluation",
    "SuiteOptions",
    "TargetSpec",
    "TaskSpec",
    "Trained",
    "TrainingOptions",
    "UnknownKeywordError",
    "UserError",
    "adapter_method",
    "arrow",
    "average",
    "compare",
    "compose",
    "dare_ties",
    "evaluate",
    "evaluate_suite",
    "explain",
    "fuse",
    "fusion",
    "get_target",
    "get_task",
    "include",
    "linear",
    "load",
    "merge",
    "merge_method",
    "metric",
    "predict",
    "pull",
    "push",
    "recommend",
    "register",
    "slerp",
    "stack",
    "task_arithmetic",
    "ties",
    "train_adapter",
    "train_language",
    "train_multitask",
    "train_seeds",
    "train_target",
    "uniform",
    "write_explanation",
]

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
    from adapter_stilts.display.picture import Picture as Picture
    from adapter_stilts.engine.methods import Method as Method
    from adapter_stilts.engine.methods import MethodOptions as MethodOptions
    from adapter_stilts.errors import FailureError as FailureError
    from adapter_stilts.errors import NotFiniteError as NotFiniteError
    from adapter_stilts.errors import RefusedError as RefusedError
    from adapter_stilts.errors import UserError as UserError
    from adapter_stilts.evaluation.data import NoDataError as NoDataError
    from adapter_stilts.evaluation.explain import explain as explain
    from adapter_stilts.evaluation.explanation import Explanation as Explanation
    from adapter_stilts.evaluation.options import ComparisonOptions as ComparisonOptions
    from adapter_stilts.evaluation.options import EvaluationOptions as EvaluationOptions
    from adapter_stilts.evaluation.options import SuiteOptions as SuiteOptions
    from adapter_stilts.evaluation.run import evaluate as evaluate
    from adapter_stilts.evaluation.suite import SuiteEvaluation as SuiteEvaluation
    from adapter_stilts.evaluation.suite import evaluate_suite as evaluate_suite
    from adapter_stilts.evaluation.summary import Evaluation as Evaluation
    from adapter_stilts.evaluation.summary import Evaluations as Evaluations
    from adapter_stilts.keywords import UnknownKeywordError as UnknownKeywordError
    from adapter_stilts.merging.registry import merge_method as merge_method
    from adapter_stilts.plugins.load import include as include
    from adapter_stilts.plugins.register import adapter_method as adapter_method
    from adapter_stilts.plugins.register import metric as metric
    from adapter_stilts.plugins.register import register as register
    from adapter_stilts.report.explain import write_explanation as write_explanation
    from adapter_stilts.study.compare import Comparison as Comparison
    from adapter_stilts.study.compare import compare as compare
    from adapter_stilts.study.recommendation import Recommendation as Recommendation
    from adapter_stilts.study.recommender import recommend as recommend
    from adapter_stilts.tasks.registry import get_target as get_target
    from adapter_stilts.tasks.registry import get_task as get_task
    from adapter_stilts.tasks.spec import FileData as FileData
    from adapter_stilts.tasks.spec import HubData as HubData
    from adapter_stilts.tasks.spec import HubSplit as HubSplit
    from adapter_stilts.tasks.spec import Reading as Reading
    from adapter_stilts.tasks.spec import Source as Source
    from adapter_stilts.tasks.spec import TaskSpec as TaskSpec
    from adapter_stilts.tasks.target_spec import Retrieval as Retrieval
    from adapter_stilts.tasks.target_spec import TargetSpec as TargetSpec
    from adapter_stilts.training.failures import (
        InterruptedTrainingError as InterruptedTrainingError,
    )
    from adapter_stilts.training.fuse import fuse as fuse
    from adapter_stilts.training.language import train_language as train_language
    from adapter_stilts.training.merge import merge as merge
    from adapter_stilts.training.multitask import train_multitask as train_multitask
    from adapter_stilts.training.options import DataOptions as DataOptions
    from adapter_stilts.training.options import MergeOptions as MergeOptions
    from adapter_stilts.training.options import RecipeChanges as RecipeChanges
    from adapter_stilts.training.options import RunOptions as RunOptions
    from adapter_stilts.training.options import TrainingOptions as TrainingOptions
    from adapter_stilts.training.recipe import Recipe as Recipe
    from adapter_stilts.training.run import Trained as Trained
    from adapter_stilts.training.run import train_adapter as train_adapter
    from adapter_stilts.training.seeds import Series as Series
    from adapter_stilts.training.seeds import train_seeds as train_seeds
    from adapter_stilts.training.target import train_target as train_target
    from adapter_stilts.zoo.hub.pull import Pulled as Pulled
    from adapter_stilts.zoo.hub.pull import pull as pull
    from adapter_stilts.zoo.hub.push import Pushed as Pushed
    from adapter_stilts.zoo.hub.push import push as push
    from adapter_stilts.zoo.inputs import InputError as InputError
    from adapter_stilts.zoo.load import load as load
    from adapter_stilts.zoo.module import Module as Module
    from adapter_stilts.zoo.predict import InputFields as InputFields
    from adapter_stilts.zoo.predict import predict as predict

_HOMES = {
    "Comparison": "adapter_stilts.study.compare",
    "ComparisonOptions": "adapter_stilts.evaluation.options",
    "DataOptions": "adapter_stilts.training.options",
    "Evaluation": "adapter_stilts.evaluation.summary",
    "EvaluationOptions": "adapter_stilts.evaluation.options",
    "Evaluations": "adapter_stilts.evaluation.summary",
    "Explanation": "adapter_stilts.evaluation.explanation",
    "FailureError": "adapter_stilts.errors",
    "FileData": "adapter_stilts.tasks.spec",
    "HubData": "adapter_stilts.tasks.spec",
    "HubSplit": "adapter_stilts.tasks.spec",
    "InputError": "adapter_stilts.zoo.inputs",
    "InputFields": "adapter_stilts.zoo.predict",
    "InterruptedTrainingError": "adapter_stilts.training.failures",
    "MergeOptions": "adapter_stilts.training.options",
    "MergeTerms": "adapter_stilts.compositions",
    "Method": "adapter_stilts.engine.methods",
    "MethodOptions": "adapter_stilts.engine.methods",
    "Module": "adapter_stilts.zoo.module",
    "NoDataError": "adapter_stilts.evaluation.data",
    "NotFiniteError": "adapter_stilts.errors",
    "Picture": "adapter_stilts.display.picture",
    "Pulled": "adapter_stilts.zoo.hub.pull",
    "Pushed": "adapter_stilts.zoo.hub.push",
    "Reading": "adapter_stilts.tasks.spec",
    "Recipe": "adapter_stilts.training.recipe",
    "RecipeChanges": "adapter_stilts.training.options",
    "Recommendation": "adapter_stilts.study.recommendation",
    "RefusedError": "adapter_stilts.errors",
    "Retrieval": "adapter_stilts.tasks.target_spec",
    "RunOptions": "adapter_stilts.training.options",
    "Series": "adapter_stilts.training.seeds",
    "Source": "adapter_stilts.tasks.spec",
    "SuiteEvaluation": "adapter_stilts.evaluation.suite",
    "SuiteOptions": "adapter_stilts.evaluation.options",
    "TargetSpec": "adapter_stilts.tasks.target_spec",
    "TaskSpec": "adapter_stilts.tasks.spec",
    "Trained": "adapter_stilts.training.run",
    "TrainingOptions": "adapter_stilts.training.options",
    "UnknownKeywordError": "adapter_stilts.keywords",
    "UserError": "adapter_stilts.errors",
    "adapter_method": "adapter_stilts.plugins.register",
    "arrow": "adapter_stilts.compositions",
    "average": "adapter_stilts.compositions",
    "compare": "adapter_stilts.study.compare",
    "compose": "adapter_stilts.compositions",
    "dare_ties": "adapter_stilts.compositions",
    "evaluate": "adapter_stilts.evaluation.run",
    "evaluate_suite": "adapter_stilts.evaluation.suite",
    "explain": "adapter_stilts.evaluation.explain",
    "fuse": "adapter_stilts.training.fuse",
    "fusion": "adapter_stilts.compositions",
    "get_target": "adapter_stilts.tasks.registry",
    "get_task": "adapter_stilts.tasks.registry",
    "include": "adapter_stilts.plugins.load",
    "linear": "adapter_stilts.compositions",
    "load": "adapter_stilts.zoo.load",
    "merge": "adapter_stilts.training.merge",
    "merge_method": "adapter_stilts.merging.registry",
    "metric": "adapter_stilts.plugins.register",
    "predict": "adapter_stilts.zoo.predict",
    "pull": "adapter_stilts.zoo.hub.pull",
    "push": "adapter_stilts.zoo.hub.push",
    "recommend": "adapter_stilts.study.recommender",
    "register": "adapter_stilts.plugins.register",
    "slerp": "adapter_stilts.compositions",
    "stack": "adapter_stilts.compositions",
    "task_arithmetic": "adapter_stilts.compositions",
    "ties": "adapter_stilts.compositions",
    "train_adapter": "adapter_stilts.training.run",
    "train_language": "adapter_stilts.training.language",
    "train_multitask": "adapter_stilts.training.multitask",
    "train_seeds": "adapter_stilts.training.seeds",
    "train_target": "adapter_stilts.training.target",
    "uniform": "adapter_stilts.compositions",
    "write_explanation": "adapter_stilts.report.explain",
}


_FOR_PLUGINS = ("adapter_stilts.errors", "adapter_stilts.plugins", "adapter_stilts.tasks.spec")
"""Where the plug-ins that the environment names are not needed yet."""


def __getattr__(name: str) -> Any:
    """Imports on first use: torch and transformers take seconds."""
    import importlib

    if name in _HOMES:
        if not _HOMES[name].startswith(_FOR_PLUGINS):
            from adapter_stilts.plugins.load import load_plugins

            load_plugins()
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'adapter_stilts' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The public names, imported yet or not."""
    return sorted([*__all__, "__version__"])
