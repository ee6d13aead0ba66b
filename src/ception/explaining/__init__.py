"""Why a model says what it says: `explain` draws which parts of a picture speak for a class, and checks the drawing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ception import backends, hub
from ception.data.collecting import collected
from ception.data.images import Picture, PictureError, flatten
from ception.errors import InputError, nearest
from ception.files import mark, whole, write_json
from ception.model_file import ModelDescription, keras_file, model_file, name_of
from ception.options import ExplainOptions
from ception.reporting import Reporter, counted, or_default
from ception.results import Explanation
from ception.settings import ExplainSettings
from ception.validation import settings_of
from ception.values import as_typed

if TYPE_CHECKING:
    from PIL import Image

    from ception.classifier import Classifier
    from ception.explaining.neighbours import Index

SHEET = "sheet.png"
FILE = "neighbours.npz"  # the index of training pictures beside a model file


def explain(
    model: str | Path | Classifier,
    pictures: Picture | Iterable[Picture],
    *,
    class_name: str | None = None,
    reporter: Reporter | None = None,
    **options: Unpack[ExplainOptions],
) -> list[Explanation]:
    """Draw which parts of each picture speak for a class, and check that the drawing depends on what was learnt.

    Args:
        model: A model file or run folder, or a classifier; exports have no gradients.
        pictures: As for `ception.predict`.
        class_name: The class; the most probable one of each picture when not given.
        reporter: Receives progress; None for what `ception.reporting.default` gives.
        options: Fields of `ExplainSettings`.

    Returns:
        For each picture and method one, in the order of the pictures.

    Raises:
        InputError: the model, the class, the layer or an option cannot be used, or a path leads nowhere.
        RunError: a file cannot be written.
    """
    settings, reporter = settings_of(ExplainSettings, options), or_default(reporter)
    listed = collected(pictures)
    classifier = opened(model, settings.backend, reporter)
    index = None if class_name is None else index_of(classifier, class_name)
    from ception.explaining.one import Task, explained

    known = index_of_training(model, classifier, settings.neighbours, reporter)
    task = Task.of(classifier, index, settings.out or Path(f"explanations-{_name(model)}"), settings, known)
    mark(task.out)
    for said in (f"Explaining {counted(len(listed), 'picture')} by {', '.join(task.methods)}", *task.coarse):
        reporter.note(said)
    results: list[Explanation] = []
    rows: list[list[Image.Image]] = []
    with reporter.task("Explaining", len(listed)) as progress:
        for number in range(len(listed)):
            try:
                made, drawn = explained(task, flatten(listed.open(number), 3), number, listed.name(number))
                results += made
                rows.append(drawn)
            except PictureError as error:
                results.append(Explanation(path=listed.name(number), error=str(error)))
            progress.advance()
    write_json(task.out / "explanations.json", [one.as_dict() for one in results])
    if rows:
        _write_sheet(task.out / SHEET, rows, task.titles)
    return results


def _write_sheet(path: Path, rows: list[list[Image.Image]], titles: list[str]) -> None:
    """Save all pictures beside their drawings as one picture."""
    from ception.explaining.overlays import sheet

    with whole(path) as unfinished:
        sheet(rows, titles).save(unfinished, "PNG")


def index_beside(path: Path, classifier: Classifier) -> Index:
    """The index of training pictures beside a model file.

    Raises:
        InputError: there is none, or it is not of this model.
    """
    from ception.explaining import neighbours

    return neighbours.read(path.resolve().parent / FILE, classifier)


def index_of_training(
    model: str | Path | Classifier, classifier: Classifier, wanted: int | None, reporter: Reporter
) -> Index | None:
    """The training pictures of a model; None where none are wanted, or none are there and nobody insists.

    Args:
        model: The model, as it was given.
        classifier: The same in Keras.
        wanted: How many are to be shown of them; None for as many as usual, if there are some.
        reporter: Told where there are none.

    Raises:
        InputError: they are wanted, but are not there.
    """
    if wanted is not None and wanted < 1:
        return None
    try:
        if isinstance(model, ModelDescription):
            raise InputError("a classifier in memory has no index of training pictures: name its run folder")
        if hub.is_named(model):
            raise InputError(f"{as_typed(model)} has none of them, which lie in its run folder alone: name that")
        return index_beside(model_file(model), classifier)
    except InputError as error:
        if wanted is not None:
            raise
        if not isinstance(model, ModelDescription):
            reporter.note(f"No training pictures are shown: {error}")
        return None


def opened(model: str | Path | Classifier, backend: str | None, reporter: Reporter) -> Classifier:
    """The model in Keras.

    Raises:
        InputError: it is an export, or cannot be used.
    """
    if isinstance(model, ModelDescription):
        return model
    path = keras_file(model, reporter=reporter)
    backends.start(backend, reporter)
    from ception.classifier import Classifier

    classifier = Classifier.load(path)
    classifier.require_weights()
    return classifier


def index_of(description: ModelDescription, class_name: str) -> int:
    """The number of a class.

    Raises:
        InputError: there is none of that name.
    """
    if class_name not in description.class_names:
        raise InputError(f"there is no class '{class_name}': {nearest(class_name, description.class_names[:200])}")
    return description.class_names.index(class_name)


def _name(model: str | Path | Classifier) -> str:
    if isinstance(model, ModelDescription):
        return model.config.name
    return name_of(model, file=model_file(model))
