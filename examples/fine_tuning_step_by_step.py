"""The steps of fine-tuning one by one, each with plain Keras: `build`, `features`, `Classifier`.

    python examples/fine_tuning_step_by_step.py photos/ --model xception --weights imagenet --at block13

Everything is a `keras.Model` or a NumPy array, so that any step can be replaced by one's own.
"""

from __future__ import annotations

import argparse

import ception
from ception import backends

backends.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from ception.data import images, sources  # noqa: E402


def main() -> None:
    """Cache what the frozen part gives, train what lies behind it, and save all as one classifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--model", default="xception")
    parser.add_argument("--weights", default="imagenet", help="or the path of a weight file")
    parser.add_argument("--at", default="block13", help="the last endpoint that stays frozen")
    parser.add_argument("--final-endpoint", help="end the network there, for weights that end there, such as mixed8")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", default="step-by-step.keras")
    options = parser.parse_args()

    # 1. What lies in the folder, and a network with its weights and a fresh head. (`ception.build` is for the network
    #    alone; the classifier also knows what a picture must look like, and how all of it is saved.)
    dataset = sources.load(options.photos)
    classifier = ception.Classifier.build(
        options.model, dataset.class_names, weights=options.weights, image_size=options.image_size,
        final_endpoint=options.final_endpoint,
    )  # fmt: skip
    network = classifier.network

    # 2. Pictures are uint8, 0..255: our networks scale inside. And what the network gives at an endpoint, by name.
    pictures = [
        images.to_pixels(dataset.pictures.open(index), classifier.image) for index in range(len(dataset.labels))
    ]
    maps = ception.features(network, options.at)
    batches = [np.float32(pictures[start : start + 32]) for start in range(0, len(pictures), 32)]
    cached = np.concatenate([maps.predict_on_batch(batch)[options.at] for batch in batches])
    print(f"{options.at}: {cached.shape}")

    # 3. What lies behind is a model of its own that shares its weights with the network. Batch norm stays frozen.
    behind = keras.Model(network.get_layer(options.at).output, network.output)
    for layer in behind.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    behind.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    behind.fit(cached, dataset.labels, batch_size=32, epochs=options.epochs, verbose=2)

    # 4. One file for everything that uses it: ception predict, evaluate, compare, and plain Keras.
    classifier.save(options.out)
    again = ception.Classifier.load(options.out)
    right = again.probabilities(batches[0]).argmax(1) == dataset.labels[: len(batches[0])]
    print(f"{options.out}: {right.sum()} of the first {len(right)} photos right")


if __name__ == "__main__":
    main()
