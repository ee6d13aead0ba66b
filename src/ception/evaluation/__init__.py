"""How good a model is: `evaluate` scores it on a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ception import backends
from ception.data import loading, sources
from ception.errors import InputError
from ception.evaluation.table import Table, tabulate
from ception.files import write_json
from ception.reporting import Reporter
from ception.settings import EvaluateSettings, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.classifier import Classifier


def evaluate(
    model: str | Path | Classifier, data: str | Path, *, reporter: Reporter | None = None, **settings: Any
) -> dict[str, Any]:
    """Score a model on a data set.

    The classes are matched by name. The scores, the table they come from and a picture of the confusion
    matrix are written to the output folder.

    Args:
        model: A model file, or a classifier (then nothing is written unless `output` is given).
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress.
        settings: Fields of `EvaluateSettings`.

    Returns:
        The scores of `ception.evaluation.metrics.scores`, and `model`, `data`, `split`, and `output` (None
        where nothing was written).

    Raises:
        InputError: the model or data cannot be used, or do not belong together.
    """
    options = checked(EvaluateSettings(**settings))
    reporter = reporter or Reporter()
    backends.choose(options.backend)
    with backends.on(options.device):
        from ception.classifier import Classifier

        classifier = model if isinstance(model, Classifier) else Classifier.load(model)
        dataset = sources.load(data, cache_limit=options.cache_limit)
        labels = matched(dataset, classifier)
        table = _table(classifier, dataset, labels, str(data), options, reporter)
    result = table.scores()
    output = options.output
    if output is None and not isinstance(model, Classifier):
        output = _output_folder(Path(model), dataset.name, options.split)
    result |= {
        "model": None if isinstance(model, Classifier) else str(model),
        "data": str(data),
        "split": options.split,
        "output": None if output is None else str(output),
    }
    if output is not None:
        write(output, table, result)
    return result


def write(output: Path, table: Table, result: dict[str, Any]) -> None:
    """Save scores, predictions and the confusion matrix into a folder, which is made."""
    from ception.evaluation.plots import confusion

    table.write(output / "predictions.csv")
    confusion(table, output / "confusion.png")
    write_json(output / "scores.json", result)


def matched(dataset: sources.Dataset, classifier: Classifier) -> NDArray[np.int32]:
    """The data set's labels, counted as the model counts its classes.

    Classes match by name; where one side has no names, by index if the counts agree.

    Raises:
        InputError: the data set has a class that the model does not know.
    """
    known = {name: number for number, name in enumerate(classifier.class_names)}
    numbers = tuple(str(number) for number in range(len(known)))
    unnamed = dataset.unnamed or classifier.class_names == numbers
    if unnamed and len(dataset.class_names) == len(known):
        return dataset.labels
    unknown = [name for name in dataset.class_names if name not in known]
    if unknown:
        raise InputError(
            f"the model does not know {'class' if len(unknown) == 1 else 'classes'} "
            f"{', '.join(repr(name) for name in unknown[:5])}{' ...' if len(unknown) > 5 else ''} of {dataset.name}; "
            f"it knows {', '.join(classifier.class_names[:20])}{' ...' if len(known) > 20 else ''}"
        )
    return np.array([known[name] for name in dataset.class_names], np.int32)[dataset.labels]


def _table(
    classifier: Classifier,
    dataset: sources.Dataset,
    labels: NDArray[np.int32],
    data: str,
    options: EvaluateSettings,
    reporter: Reporter,
) -> Table:
    digests, _ = sources.digests(dataset.pictures, reporter)
    if options.split == "all":
        indices = np.arange(len(labels))
    else:
        place = sources.split(dataset, digests)
        indices = np.flatnonzero(place == sources.SPLITS[options.split])
    if not len(indices):
        raise InputError(f"{data} has no {options.split} pictures: choose another --split, or all")
    if options.split != "train":
        seen = int(classifier.seen_in_training(digests[indices]).sum())
        if seen:
            reporter.warn(
                f"{seen:,} of these {len(indices):,} pictures were in the model's training: "
                "the scores are better than on new pictures"
            )
    failed: dict[int, str] = {}

    def batches() -> Iterator[tuple[NDArray[np.integer], NDArray[np.uint8]]]:
        for chosen, pixels, reasons in loading.stream(
            dataset.pictures, indices, classifier.image, options.batch_size, reporter=reporter, label="Evaluating"
        ):
            failed.update(reasons)
            yield chosen, pixels

    table = tabulate(classifier, dataset, labels, batches())
    for index, why in list(failed.items())[:20]:
        reporter.warn(f"left out {dataset.pictures.name(index)}: {why}")
    if len(failed) > 20:
        reporter.warn(f"left out {len(failed) - 20} more that cannot be read")
    if not len(table.labels):
        raise InputError(f"none of the {len(indices)} pictures of {data} can be read")
    return table


def _output_folder(model: Path, data_name: str, split: str) -> Path:
    name = data_name if split == "test" else f"{data_name}-{split}"
    run = model.resolve().parent
    if (run / "settings.json").is_file():
        return model.parent / "evaluations" / name
    return Path(f"evaluation-{name}")
