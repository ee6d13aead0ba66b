"""Fine-tune a network on a folder of photos from Python, in a few lines.

    python examples/fine_tuning.py photos/ --model xception --weights imagenet

`photos/` has a folder for each class. The run folder has the model, the scores, and `report.html`.
"""

from __future__ import annotations

import argparse

import ception


def main() -> None:
    """Check the photos, train, and name some pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--model", default="xception")
    parser.add_argument("--weights", default="imagenet", help="or the path of a weight file")
    parser.add_argument("--final-endpoint", help="where the network ends, such as mixed8")
    parser.add_argument("--image-size", type=int)
    options = parser.parse_args()

    found = ception.check(options.photos, model=options.model, image_size=options.image_size)
    print(f"{found.pictures} photos, {found.verdict}: see {found.page}")

    run = ception.train(
        options.photos, model=options.model, weights=options.weights, final_endpoint=options.final_endpoint,
        image_size=options.image_size, time_budget=10,
    )  # fmt: skip
    low, high = run.scores.accuracy_interval
    print(f"Test accuracy {run.scores.accuracy:.3f} ({low:.3f} to {high:.3f}), all of it in {run.folder}")

    for result in ception.predict(run.classifier, options.photos, top=1)[:5]:
        print(result.path, result.top[0])


if __name__ == "__main__":
    main()
