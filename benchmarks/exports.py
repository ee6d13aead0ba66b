"""Whether exports say what the model says in Keras, from the files of real photos to labels, and how fast they are.

    python benchmarks/exports.py MODEL                          # 1,000 photos of what it was trained with, in float32
    python benchmarks/exports.py MODEL DATA --formats onnx litert --dtype int8 --pictures 518 --split test
    KERAS_BACKEND=torch python benchmarks/exports.py MODEL --formats torch     # where PyTorch is installed

Each format is written by `ception export`. In int8 its gate decides, with some layers in float32 where all in int8
cost too much; what it refuses is kept all the same, to be told here. Then all of them and Keras see the same photos,
each decoded once. Latency at batch 1 is the least of several runs, and the runtimes take turns, so that what else the
machine does meets them alike. Every format appends a row to results/exports.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import ception
import results
from ception.artefacts import SUFFIXES, metadata, size_of
from ception.errors import RunError
from ception.exporting import gate
from ception.model_file import describe, model_file
from ception.predictor import Predictor, answered
from ception.reporting import Reporter

FORMATS = ("onnx", "openvino", "litert", "saved-model")
ROUNDS = 15  # of timing


def main() -> None:
    """Export, compare, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file or run folder")
    parser.add_argument("data", nargs="?", help="what the model was trained with when not given")
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--split", default="all")
    options = parser.parse_args()
    path = model_file(options.model)
    chosen = gate.sample(
        describe(path), options.data, options.pictures, split=options.split, cache_limit=10, reporter=Reporter()
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        keras = stack.enter_context(Predictor.open(path, engine="keras", batch_size=16, reporter=Reporter()))
        ours: dict[str, Predictor] = {}
        notes: dict[str, str] = {}
        for to in options.formats:
            out = Path(folder) / f"it{SUFFIXES[to]}"
            notes[to] = _exported(path, to, out, options)
            ours[to] = stack.enter_context(
                Predictor.of_artefact(metadata.read(out), dtype=options.dtype, batch_size=16, reporter=Reporter())
            )
        compared = _compared([keras, *ours.values()], chosen)
        seconds = _seconds([keras, *ours.values()])
        for number, (to, predictor) in enumerate(ours.items(), start=1):
            results.append("exports", {
                "network": keras.description.config.name, "image_size": keras.description.image.height,
                "data": Path(chosen.told).name, "format": to, "dtype": predictor.engine.precision,
                "runtime": predictor.engine.name, "keras": keras.engine.name, **compared[number],
                "size_mb": round(size_of(Path(folder) / f"it{SUFFIXES[to]}") / 1e6, 1),
                "model_size_mb": round(path.stat().st_size / 1e6, 1), "latency_ms": round(seconds[number] * 1e3, 1),
                "latency_in_keras_ms": round(seconds[0] * 1e3, 1), "notes": notes[to],
            })  # fmt: skip
            print(to, compared[number], f"{seconds[number] * 1e3:.1f} ms", notes[to], flush=True)


def _exported(path: Path, to: str, out: Path, options: argparse.Namespace) -> str:
    """Write an artefact; what there is to say of it."""
    asked = {"out": out, "dtype": options.dtype, "data": options.data, "reporter": Reporter()}
    if options.dtype != "int8":
        ception.export(path, to, pictures=16, **asked)
        return ""
    try:
        report = ception.export(path, to, pictures=options.pictures, **asked)
    except RunError as refusal:
        ception.export(path, to, pictures=options.pictures, max_disagreement=1.0, **asked)
        return f"refused: {refusal}"
    return "; ".join(report.notes)


def _compared(predictors: list[Predictor], chosen: gate.Sample) -> list[dict[str, float | int | str]]:
    """What each predictor says beside the first."""
    said: list[list[np.ndarray]] = [[] for _ in predictors]
    readable: list[np.ndarray] = []
    for answers in answered(predictors, chosen.pictures, chosen.indices, label="Comparing", reporter=Reporter()):
        readable.append(answers.indices)
        for rows, predictor, logits in zip(said, predictors, answers.logits, strict=True):
            rows.append(predictor.description.softmax(logits))
    probabilities = [np.concatenate(rows) for rows in said]
    labels = [rows.argmax(-1) for rows in probabilities]
    true = None if chosen.labels is None else chosen.labels[np.concatenate(readable)]
    accuracies = ["" if true is None else round(float((mine == true).mean()), 4) for mine in labels]
    return [
        {
            "pictures": len(mine), "differing": int((mine != labels[0]).sum()),
            "disagreement": round(float((mine != labels[0]).mean()), 5),
            "largest_gap": float(f"{np.abs(rows - probabilities[0]).max():.3g}"),
            "accuracy": accuracy, "accuracy_in_keras": accuracies[0],
        }
        for rows, mine, accuracy in zip(probabilities, labels, accuracies, strict=True)
    ]  # fmt: skip


def _seconds(predictors: list[Predictor]) -> list[float]:
    """The least time that each takes for one picture."""
    shape = predictors[0].description.image.shape
    picture = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    least = [np.inf] * len(predictors)
    for _ in range(ROUNDS):
        for number, predictor in enumerate(predictors):
            began = time.perf_counter()
            predictor.engine.run(picture)
            least[number] = min(least[number], time.perf_counter() - began)
    return least


if __name__ == "__main__":
    main()
