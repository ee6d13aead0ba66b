"""Every public name with its signature: what a user's script relies on changes here, or not at all."""

from __future__ import annotations

import inspect
from typing import Any

import ception

NAMES = [
    "Classifier", "InputError", "MODELS", "Predictor", "Reporter", "Run", "RunError", "__version__", "bench", "build",
    "check", "compare", "convert", "doctor", "endpoints", "evaluate", "explain", "export", "features",
    "find_learning_rate", "predict", "predict_into", "resume", "runs", "serve", "shard", "stages", "summary", "train",
    "train_on", "truncate", "tune",
]  # fmt: skip
SIGNATURES = {
    "Classifier": "(*, config, class_names, image, record=<factory>, training_digests=<factory>, "
    "training_pixels=<factory>, temperature=1.0, unnamed=False, coverage=<factory>, usual=None, network)",
    "Classifier.build": "(name, class_names, *, weights=None, resize='squash', **options)",
    "Classifier.load": "(path, *, dtype='float32')",
    "Classifier.logits": "(self, images)",
    "Classifier.of": "(description, network)",
    "Classifier.pretrained": "(name, weights, *, partial=False, class_names=None, reporter=None, **options)",
    "Classifier.probabilities": "(self, images, *, calibrated=True)",
    "Classifier.save": "(self, path)",
    "Predictor": "(description, engine, *, batch_size=32, min_confidence=0.0, reporter=None)",
    "Predictor.close": "(self)",
    "Predictor.logits": "(self, pixels)",
    "Predictor.of_artefact": "(artefact, *, dtype='float32', batch_size=32, reporter=None)",
    "Predictor.open": "(model, *, weights=None, engine=None, dtype='float32', batch_size=32, pictures=None, "
    "measure=True, features=False, backend=None, device=None, cache_limit=10.0, reporter=None)",
    "Predictor.predictions": "(self, given, *, top=5, min_confidence=None, calibrated=True, allow_urls=False, "
    "indices=None)",
    "Reporter": "()",
    "Run": "(classifier, history, scores, folder)",
    "bench": "(model='xception', *, reporter=None, **options)",
    "build": "(name, *, weights=None, auxiliary=False, partial=False, dtype='float32', seed=None, **options)",
    "check": "(data, *, reporter=None, **options)",
    "compare": "(one, other, data=None, *, reporter=None, **options)",
    "convert": "(source, model, *, out=None, partial=False, class_names=None, reporter=None, **options)",
    "doctor": "()",
    "endpoints": "(model)",
    "evaluate": "(model, data, *, reporter=None, **options)",
    "explain": "(model, pictures, *, class_name=None, reporter=None, **options)",
    "export": "(model, to, *, reporter=None, **options)",
    "features": "(model, names)",
    "find_learning_rate": "(data, *, picture=None, reporter=None, **options)",
    "predict": "(model, pictures, top=5, *, reporter=None, **options)",
    "predict_into": "(model, pictures, out, *, reporter=None, **options)",
    "train_on": "(on, data=None, *, resume=None, worker_cores=1, reporter=None, **options)",
    "resume": "(run, data=None, *, reporter=None)",
    "runs": "(folder='runs')",
    "serve": "(models, *, reporter=None, **options)",
    "shard": "(data, out, *, reporter=None, **options)",
    "stages": "(model)",
    "summary": "(model, *, image_size=None, every=None, batch_size=32, dtype='float32', **unknown)",
    "train": "(data, *, reporter=None, **options)",
    "truncate": "(model, at)",
    "tune": "(data, *, reporter=None, **options)",
}


def signature(member: Any) -> str:
    """Names, kinds and defaults of the parameters, without their types."""
    whole = inspect.signature(member)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in whole.parameters.values()]
    return str(whole.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def public() -> dict[str, str]:
    """The signature of every public function and class, and of the methods of those that are used as objects."""
    signatures = {}
    for name in ception.__all__:
        member = getattr(ception, name)
        if not callable(member) or (isinstance(member, type) and issubclass(member, Exception)):
            continue
        signatures[name] = signature(member)
        if name in ("Classifier", "Predictor"):
            own = [
                method for method in vars(member) if not method.startswith("_") and callable(getattr(member, method))
            ]
            signatures |= {f"{name}.{method}": signature(getattr(member, method)) for method in own}
    return signatures


def test_the_names():
    assert sorted(ception.__all__) == NAMES
    assert all(getattr(ception, name) for name in NAMES)


def test_the_signatures():
    assert public() == SIGNATURES
