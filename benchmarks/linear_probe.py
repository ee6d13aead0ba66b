"""Test accuracy of a linear classifier on the pooled features of a pretrained network.

    python benchmarks/linear_probe.py path/to/trashnet --network inception_v3 --weights inception_v3_to_mixed8.h5 \
        --partial --at mixed8

Photos, split and features are those of the package; the classifier is scikit-learn's logistic regression, its
regularisation chosen on the validation part. Appends a row to results/linear_probe.csv.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import results


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--network", default="inception_v3")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--partial", action="store_true")
    parser.add_argument("--at", default="pool", help="endpoint whose channels are averaged")
    parser.add_argument("--image-size", type=int, default=224)
    return parser.parse_args()


def features(options: argparse.Namespace, pictures: Any) -> Any:
    """The channels of every picture at the endpoint, averaged over its places: pictures x channels."""
    import keras
    import numpy as np

    import ception
    from ception.data import loading
    from ception.data.images import ImageContract
    from ception.reporting import Reporter

    network = ception.build(
        options.network, weights=options.weights, partial=options.partial, image_size=options.image_size
    )
    maps = ception.truncate(network, options.at)
    pooled = keras.Model(maps.input, keras.layers.GlobalAveragePooling2D()(maps.output))
    contract = ImageContract(height=options.image_size, width=options.image_size, channels=3)
    every = np.arange(len(pictures))
    return np.concatenate([
        pooled.predict_on_batch(batch.pixels.astype("float32"))
        for batch in loading.stream(pictures, every, contract, 32, reporter=Reporter(), label="Features")
    ])  # fmt: skip


def main() -> None:
    """Compute the features, fit, score, and append the row."""
    options = arguments()
    from ception import backends

    backends.start()
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from ception.data import sources, splitting

    start = time.monotonic()
    dataset = sources.load(options.photos)
    digests, _ = sources.digests(dataset.pictures)
    place = splitting.split(dataset, digests)
    raw = features(options, dataset.pictures)
    scaled = StandardScaler().fit(raw[place == sources.TRAIN]).transform(raw)

    def score(strength: float, part: int) -> float:
        train, test = place == sources.TRAIN, place == part
        classifier = LogisticRegression(C=strength, max_iter=2000).fit(scaled[train], dataset.labels[train])
        return float(classifier.score(scaled[test], dataset.labels[test]))

    strength = max((0.0001, 0.0003, 0.001, 0.003, 0.01), key=lambda strength: score(strength, sources.VAL))
    row = {
        "network": options.network, "weights": Path(options.weights).name, "at": options.at,
        "image_size": options.image_size, "photos": Path(options.photos).name, "strength": strength,
        "val_accuracy": round(score(strength, sources.VAL), 4),
        "test_accuracy": round(score(strength, sources.TEST), 4), "backend": keras.backend.backend(),
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip
    print(row)
    results.append("linear_probe", row)


if __name__ == "__main__":
    main()
