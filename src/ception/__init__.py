"""From a folder of pictures to a served classifier with the Inception to Xception family."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ception import reporting as reporting
    from ception.benchmarking import bench as bench
    from ception.checking import check as check
    from ception.classifier import Classifier as Classifier
    from ception.conversion import convert as convert
    from ception.diagnosis import doctor as doctor
    from ception.errors import InputError as InputError
    from ception.errors import RunError as RunError
    from ception.evaluation import evaluate as evaluate
    from ception.evaluation.comparison import compare as compare
    from ception.explaining import explain as explain
    from ception.exporting import export as export
    from ception.inspection import summary as summary
    from ception.jobs import predict_into as predict_into
    from ception.jobs.training import train_on as train_on
    from ception.models import MODELS as MODELS
    from ception.models.endpoints import endpoints as endpoints
    from ception.models.endpoints import features as features
    from ception.models.endpoints import stages as stages
    from ception.models.endpoints import truncate as truncate
    from ception.networks import build as build
    from ception.prediction import predict as predict
    from ception.predictor import Predictor as Predictor
    from ception.reporting import Reporter as Reporter
    from ception.run_list import runs as runs
    from ception.serving import serve as serve
    from ception.sharding import shard as shard
    from ception.training import Run as Run
    from ception.training import resume as resume
    from ception.training import train as train
    from ception.training.searching import find_learning_rate as find_learning_rate
    from ception.tuning import tune as tune

__version__ = version("ception")

_HOMES = {
    "Classifier": "classifier",
    "InputError": "errors",
    "MODELS": "models",
    "Predictor": "predictor",
    "Reporter": "reporting",
    "Run": "training",
    "RunError": "errors",
    "bench": "benchmarking",
    "build": "networks",
    "check": "checking",
    "compare": "evaluation.comparison",
    "convert": "conversion",
    "doctor": "diagnosis",
    "endpoints": "models.endpoints",
    "features": "models.endpoints",
    "evaluate": "evaluation",
    "explain": "explaining",
    "export": "exporting",
    "find_learning_rate": "training.searching",
    "predict": "prediction",
    "predict_into": "jobs",
    "train_on": "jobs.training",
    "resume": "training",
    "runs": "run_list",
    "serve": "serving",
    "shard": "sharding",
    "stages": "models.endpoints",
    "summary": "inspection",
    "train": "training",
    "truncate": "models.endpoints",
    "tune": "tuning",
}
_NEEDS_KERAS = {"Classifier", "build", "convert", "endpoints", "features", "stages", "summary", "truncate"}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import ception` alone imports neither Keras nor NumPy."""
    if name == "reporting":  # whose `default` a script changes
        return importlib.import_module("ception.reporting")
    if name not in _HOMES:
        from ception.errors import meant

        raise AttributeError(f"module 'ception' has no attribute '{name}'{meant(name, _HOMES)}")
    if name in _NEEDS_KERAS:
        importlib.import_module("ception.backends").start()
    value = getattr(importlib.import_module(f"ception.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
