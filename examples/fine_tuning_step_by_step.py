"""The steps of fine-tuning one by one, each with plain Keras: `build`, `features`, `Classifier`.

    python examples/fine_tuning_step_by_step.py photos/ --model xception --weights imagenet --at block13

Everything is a `keras.Model` or a NumPy array, so that any step can be replaced by one's own.
"""

from __future__ import annotations

import argparse

import ception
from ception import backends

backends.choose()

import keras  # noqa: E402
import numpy as np  # noqa: E402


def main() -> None:
    """Cache what the frozen part gives, train what lies behind it, and save all as one classifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--model", default="xception")
    parser.add_argument("--weights", default="imagenet", help="or the path of a weight file")
    parser.add_argument("--at", default="block13", help="the last endpoint that stays frozen")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", default="step-by-step.keras")
    options = parser.parse_args()

    # 1. Pictures as any Keras program reads them: float32, 0..255. Our networks scale inside.
    size = options.image_size or ception.MODELS[options.model].image_size[0]
    pictures = keras.utils.image_dataset_from_directory(
        options.photos, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
    )
    names = pictures.class_names
    images = np.concatenate([np.asarray(batch) for batch, _ in pictures])
    labels = np.concatenate([np.asarray(batch) for _, batch in pictures])

    # 2. A network with its weights and a fresh head, and what it gives at a place inside, by name. (`ception.build` is
    #    for the network alone; the classifier also knows how to save it.)
    classifier = ception.Classifier.build(options.model, names, weights=options.weights, image_size=size)
    network = classifier.network
    maps = ception.features(network, options.at)
    cached = np.concatenate([np.asarray(maps.predict_on_batch(part)[options.at])
                             for part in np.array_split(images, -(-len(images) // 32))])  # fmt: skip
    print(f"{options.at}: {cached.shape}")

    # 3. What lies behind is a model of its own that shares its weights with the network. Batch norm stays frozen.
    behind = keras.Model(network.get_layer(options.at).output, network.output)
    for layer in behind.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    behind.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    behind.fit(cached, labels, batch_size=32, epochs=options.epochs, verbose=2)

    # 4. One file for everything that uses it: ception predict, evaluate, compare, and plain Keras.
    classifier.save(options.out)
    again = ception.Classifier.load(options.out)
    print(f"{options.out}: {(again.probabilities(images[:32]).argmax(1) == labels[:32]).mean():.2f} of 32 photos right")


if __name__ == "__main__":
    main()
