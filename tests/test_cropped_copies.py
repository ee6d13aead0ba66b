"""Parts of other pictures are found, and look-alikes are not taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

import ception
from ception.checking import alignment, cropped, duplicates, groups
from ception.data import pictures
from ception.reporting import Reporter
from support.findings import findings_of, paths, scene
from support.reporters import Notes

TURNS = (None, *Image.Transpose)


def photo(seed: int, size: tuple[int, int] = (320, 240), *, colour: str = "darkgreen") -> Image.Image:
    """A disc on a plain ground, with shading and grain of its own, as photos of alike things are."""
    random = np.random.default_rng(seed)
    height, width = size[1], size[0]
    shade = np.asarray(scene(seed, size), np.float32)
    image = Image.new("RGB", size, (200, 200, 205))
    middle, radius = (width, height) * random.uniform(0.36, 0.64, 2), height * random.uniform(0.2, 0.3)
    ImageDraw.Draw(image).ellipse(
        (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=colour
    )
    pixels = np.asarray(image, np.float32) + 0.06 * (shade - shade.mean()) + random.normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def part(image: Image.Image, share: float, left: float, top: float) -> Image.Image:
    """A part that keeps a share of each side."""
    width, height = image.width * share, image.height * share
    x, y = (image.width - width) * left, (image.height - height) * top
    return image.crop((round(x), round(y), round(x + width), round(y + height)))


@pytest.fixture
def data(data: Path) -> Path:
    """The scenes, with four photos among them."""
    for number in range(4):
        photo(number).save(data / "cat" / f"photo{number}.jpg", quality=95)
    return data


@pytest.mark.parametrize("turn", TURNS, ids=["upright", *(turn.name for turn in Image.Transpose)])
@pytest.mark.parametrize(("share", "left", "top"), [(0.9, 0.5, 0.5), (0.9, 0.1, 0.8), (0.93, 1.0, 0.0)])
def test_a_part_of_a_photo_in_the_other_class(data, turn, share, left, top):
    image = part(photo(2), share, left, top)
    (image if turn is None else image.transpose(turn)).save(data / "dog" / "part.jpg", quality=90)
    assert paths(findings_of(data)["near_two_classes"]) == [["photo2.jpg", "part.jpg"]]


def test_parts_are_not_looked_for_among_very_many(data, monkeypatch):
    part(photo(1), 0.9, 0.5, 0.5).save(data / "dog" / "part.jpg", quality=90)
    assert "near_two_classes" in findings_of(data)
    monkeypatch.setattr(cropped, "MOST", 3)
    result = ception.check(data, out=data.parent / "page.html")
    assert "near_two_classes" not in {finding.kind for finding in result.findings}
    assert any(reason.startswith("parts of other pictures") for reason in result.not_checked)


def test_a_part_that_is_brighter_and_burns_out(data):
    ImageEnhance.Brightness(part(photo(2), 0.9, 0.3, 0.6)).enhance(1.3).save(data / "dog" / "part.jpg", quality=90)
    assert paths(findings_of(data)["near_two_classes"]) == [["photo2.jpg", "part.jpg"]]


def test_alike_things_on_the_same_ground_are_candidates_and_no_copies(tmp_path):
    for number in range(8):
        photo(number, colour="saddlebrown" if number < 4 else "darkgreen").save(tmp_path / f"{number}.png")
    files = pictures.Files(sorted(map(str, tmp_path.glob("*.png"))))
    copies = np.stack([np.asarray(files.open(k).convert("L").resize((16, 16), Image.BOX)) for k in range(8)])
    found = cropped.candidates(copies, Reporter())
    assert len({frozenset((int(one["part"]), int(one["whole"]))) for one in found}) >= 6
    assert len(set(cropped.together(files, np.arange(8), copies, np.arange(8), Reporter()).tolist())) == 8


def test_candidates_say_where_the_part_lies_and_how_it_is_turned():
    whole = photo(3)
    whole.paste(scene(5, (100, 80)), (20, 120))  # or it would be as good as symmetric
    images = [whole, scene(7, (320, 240)), part(whole, 0.9, 1.0, 0.0).transpose(Image.Transpose.ROTATE_90)]
    copies = np.stack([np.asarray(image.convert("L").resize((16, 16), Image.BOX)) for image in images])
    found = cropped.candidates(copies, Reporter())[0]
    assert (found["part"], found["whole"]) == (2, 0)
    assert cropped.WINDOWS[found["window"]] == pytest.approx((0.1, 1.0, 0.0, 0.9))
    turned = duplicates.TURNS[found["turn"]](copies[2:])[0]
    upright = part(images[0], 0.9, 1.0, 0.0).convert("L").resize((16, 16), Image.BOX)
    assert np.abs(turned.astype(float) - np.asarray(upright)).max() <= 2


def test_candidates_do_not_depend_on_the_size_of_blocks_and_are_few(monkeypatch):
    images = [part(photo(seed), 0.95, 0.5, turn) for seed in range(10) for turn in (0, 1)]
    copies = np.stack([np.asarray(image.convert("L").resize((16, 16), Image.BOX)) for image in images])
    monkeypatch.setattr(cropped, "_MOST_OF_ONE", 3)
    found = cropped.candidates(copies, Reporter())
    assert 20 < len(found) <= 20 * 3
    assert (np.diff(found["correlation"]) <= 0).all()
    monkeypatch.setattr(cropped, "_MOST_AT_ONCE", 50)
    again = cropped.candidates(copies, Reporter())
    assert again["correlation"] == pytest.approx(found["correlation"], abs=1e-5)
    assert len(cropped.candidates(copies[:0], Reporter())) == 0


def test_pairs_that_others_have_settled_are_not_opened(monkeypatch, tmp_path):
    for number in range(5):
        part(photo(1), 0.95, number / 4, 0.5).save(tmp_path / f"{number}.png")
    files = pictures.Files(sorted(map(str, tmp_path.glob("*.png"))))
    copies = np.stack([np.asarray(files.open(k).convert("L").resize((16, 16), Image.BOX)) for k in range(5)])
    asked = []
    monkeypatch.setattr(cropped, "_MOST_COMPARED", 1)
    monkeypatch.setattr(alignment, "are_parts", lambda *where: asked.extend(where[0]) or np.ones(len(where[0]), bool))
    group_of = cropped.together(files, np.arange(5), copies, np.arange(5), Notes())
    assert len(set(group_of.tolist())) == 1
    assert len(asked) == 4


def test_of_many_look_alikes_the_most_alike_are_compared_and_that_is_said(monkeypatch, tmp_path):
    for number in range(6):
        photo(number).save(tmp_path / f"{number}.png")
    part(photo(4), 0.9, 0.5, 0.5).save(tmp_path / "part.png")
    files = pictures.Files(sorted(map(str, tmp_path.glob("*.png"))))
    copies = np.stack([np.asarray(files.open(k).convert("L").resize((16, 16), Image.BOX)) for k in range(7)])
    monkeypatch.setattr(cropped, "_MOST_IN_ALL", 5)
    notes = Notes()
    group_of = cropped.together(files, np.arange(7), copies, np.arange(7), notes)
    assert [group.tolist() for group in groups.groups(group_of)] == [[4, 6]]
    assert notes.notes[-1].endswith("pairs of look-alikes the 5 most alike are compared closely")


def test_where_all_are_alike_each_keeps_its_most_alike(monkeypatch):
    random = np.random.default_rng(0)
    one = np.asarray(scene(1).convert("L").resize((16, 16), Image.BOX), float)
    copies = np.clip(one + random.normal(0, 1, (40, 16, 16)), 0, 255).astype(np.uint8)
    copies[31] = copies[8]
    monkeypatch.setattr(cropped, "_MOST_OF_ONE", 2)
    found = cropped.candidates(copies, Reporter())
    assert len(found) <= 80
    assert {int(found[0]["part"]), int(found[0]["whole"])} == {8, 31}
    assert set(found["part"].tolist()) | set(found["whole"].tolist()) == set(range(40))


def test_a_picture_that_is_gone_is_no_copy(tmp_path):
    for number in range(2):
        part(photo(1), 1 - number / 10, 0.5, 0.5).save(tmp_path / f"{number}.png")
    files = pictures.Files(sorted(map(str, tmp_path.glob("*.png"))))
    copies = np.stack([np.asarray(files.open(k).convert("L").resize((16, 16), Image.BOX)) for k in range(2)])
    assert len(set(cropped.together(files, np.arange(2), copies, np.arange(2), Reporter()).tolist())) == 1
    (tmp_path / "1.png").unlink()
    assert len(set(cropped.together(files, np.arange(2), copies, np.arange(2), Reporter()).tolist())) == 2


WINDOWS = ((0.03, 0.93, 0.05, 0.95), (0.1, 1.0, 0.0, 0.9), (0.0, 0.88, 0.08, 0.96))


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((160, 160), Image.BOX))


def test_windows_are_found_from_nearby():
    wholes = np.repeat(grey(photo(4))[None], len(WINDOWS), 0).astype(np.float32)
    fixed = alignment._cut(wholes, np.array(WINDOWS), 160)
    edges = alignment._aligned(fixed, wholes, np.add(WINDOWS, (0.02, -0.02, 0.015, 0.02)), 12)
    assert edges == pytest.approx(np.array(WINDOWS), abs=1e-3)


def test_each_pair_is_judged_by_itself():
    parts = np.stack([grey(part(photo(1), 0.9, 0.5, 0.5)), grey(photo(2)), grey(part(photo(3), 0.9, 0.5, 0.5))])
    wholes = np.stack([grey(photo(1)), grey(photo(1)), grey(photo(3))])
    windows = np.full((3, 4), (0.05, 0.95, 0.05, 0.95))
    assert alignment.are_parts(parts, wholes, windows).tolist() == [True, False, True]


def test_plain_pictures_end_in_no_error():
    plain, burnt_out, whole = np.full((160, 160), 90, np.uint8), np.full((160, 160), 255, np.uint8), grey(photo(4))
    parts = np.stack([plain, plain, whole, burnt_out, burnt_out])
    wholes = np.stack([plain, whole, plain, whole, plain])
    assert not alignment.are_parts(parts, wholes, np.full((5, 4), alignment.WHOLE)).any()
    assert alignment.are_parts(parts[:0], wholes[:0], np.zeros((0, 4))).tolist() == []
