"""What the page of a check shows of the network's own view."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

import ception
from ception.checking import seen
from ception.data import sources
from ception.data.augmentation import Augmentation
from ception.data.images import ImageContract
from ception.reporting import Reporter
from support.pictures import write_pictures

SMALL = ImageContract(height=28, width=28, channels=3)


def opened(source: str) -> Image.Image:
    """The picture in a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def looked(data: Path, augmentation: Augmentation, contract: ImageContract = SMALL) -> list[seen.Seen]:
    dataset = sources.load(data)
    return seen.seen(dataset, np.ones(len(dataset.labels), bool), contract, augmentation, Reporter())


def test_a_picture_is_shown_at_the_size_and_shape_of_the_network(data):
    for one in looked(data, Augmentation()):
        original, pixels = np.asarray(opened(one.original)), np.asarray(opened(one.pixels))
        assert original.shape[:2] == (84, 112)  # as it is, 120 x 90
        assert pixels.shape == (112, 112, 3)  # squashed to 28, each pixel four times as large
        squashed = Image.open(sources.load(data).pictures.paths[one.index]).resize((28, 28), Image.Resampling.BILINEAR)
        expected = np.asarray(squashed, int).repeat(4, axis=0).repeat(4, axis=1)
        assert np.abs(pixels - expected).mean() < 8  # but for JPEG; of another picture it would be 60
        assert one.changed == ()


def test_what_training_changes_differs_and_is_the_same_each_time(data):
    mirrored = looked(data, Augmentation(flip=0.5))
    assert {len(one.changed) for one in mirrored} == {1}  # there is no other
    for one in mirrored:
        plain, changed = np.asarray(opened(one.pixels), int), np.asarray(opened(one.changed[0]), int)
        assert np.abs(plain[:, ::-1] - changed).mean() < 4 < np.abs(plain - changed).mean()
    erased = looked(data, Augmentation(flip=0.5, shift=0.1, erase=0.5))
    assert all(len({one.pixels, *one.changed}) == 3 for one in erased)
    assert looked(data, Augmentation(flip=0.5, shift=0.1, erase=0.5)) == erased


def test_a_few_of_each_class_and_of_many_classes_some(tmp_path):
    counts = {f"c{number:02}": 1 + number for number in range(12)}
    dataset = sources.load(write_pictures(tmp_path / "many", counts))
    readable = np.ones(len(dataset.labels), bool)
    readable[0] = False  # the only one of the first class
    labels = dataset.labels[[one.index for one in seen.seen(dataset, readable, SMALL, Augmentation(), Reporter())]]
    names, numbers = np.unique(labels, return_counts=True)
    assert names.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert numbers.tolist() == [2] + [3] * 9


def test_a_picture_that_has_gone_is_left_out(data):
    dataset = sources.load(data)
    (data / "cat" / "00.jpg").unlink()
    found = seen.seen(dataset, np.ones(30, bool), SMALL, Augmentation(), Reporter())
    assert [one.index for one in found] == [7, 14, 15, 22, 29]


def test_the_page_shows_it_as_the_default_training_would(data):
    for model, shown in (("separable_cnn", 2), ("inception_v3", 2)):  # the article's recipe changes nothing
        page = Path(ception.check(data, model=model).page).read_text()
        part = page.partition('id="seen"')[2]
        assert part.count("<img") == 6 * shown
        assert f"as {model} takes it" in " ".join(part.split())
    page = Path(ception.check(data).page).read_text()  # xception with weights, whose recipe mirrors
    part = page.partition('id="seen"')[2]
    assert (part.count("<img"), "may change it" in part) == (6 * 3, True)
    assert re.search(r'pixels\s\(<a href="#seen">what it sees</a>\)', page)
    assert len(page) < 6e6
