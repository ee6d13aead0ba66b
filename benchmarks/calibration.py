"""Whether a model's probabilities mean what they say, and whether a wished precision is delivered.

    ception train path/to/fashion_mnist.npz --recipe article
    python benchmarks/calibration.py runs/001-separable_cnn-fashion_mnist path/to/fashion_mnist.npz

Appends a row to results/calibration.csv.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import ception
import results


def main() -> None:
    """Evaluate the run named on the command line on the data set named after it."""
    run, data = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as output:
        scores = ception.evaluate(run / "model.keras", data, target_precision=0.97, out=output)
    record = json.loads((run / "settings.json").read_bytes())
    selective = scores.selective
    row = {
        "data": record["data"]["name"],
        "recipe": record["settings"]["recipe"],
        "seed": record["settings"]["seed"],
        "backend": record["versions"]["backend"],
        "test_accuracy": round(scores.accuracy, 4),
        "temperature": round(scores.temperature, 4),
        "calibration_error": round(scores.calibration_error, 4),
        "calibration_error_without": round(scores.uncalibrated.calibration_error, 4),
        "log_loss": round(scores.log_loss, 4),
        "log_loss_without": round(scores.uncalibrated.log_loss, 4),
        "wished_precision": selective.wished,
        "min_confidence": round(selective.min_confidence, 4),
        "precision": round(selective.precision, 4),
        "precision_low": round(selective.precision_interval[0], 4),
        "precision_high": round(selective.precision_interval[1], 4),
        "coverage": round(selective.coverage, 4),
    }
    results.append("calibration", row)
    print(row)


if __name__ == "__main__":
    main()
