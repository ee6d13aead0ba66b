"""What photo hosts show where they have no picture is told from pictures, and listed once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ception.checking import scan
from support.findings import findings_of, paths, scene

SIZES = ((120, 90), (200, 200), (640, 480))
GREY, WHITE, DARK, BLUISH = ((224,) * 3, (120,) * 3), ((255,) * 3, (160,) * 3), ((30,) * 3, (200,) * 3), (
    (230, 238, 245), (120, 140, 170),
)  # fmt: skip


def placeholder(
    size: tuple[int, int] = (400, 300), colours=GREY, text: str = "Image not available", icon: bool = False
) -> Image.Image:
    ground, ink = colours
    width, height = size
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(height // 12)
    draw.text((width / 2, height * (0.7 if icon else 0.5)), text, fill=ink, anchor="mm", font=font)
    if icon:
        draw.rectangle(
            (width * 0.38, height * 0.3, width * 0.62, height * 0.56), outline=ink, width=max(2, height // 60)
        )
        draw.polygon([(width * 0.4, height * 0.54), (width * 0.47, height * 0.42), (width * 0.54, height * 0.54)], ink)
    return image


def drawing(seed: int, size: tuple[int, int] = (300, 300)) -> Image.Image:
    """Some dark lines on white, other ones for each seed."""
    image = Image.new("L", size, 255)
    points = np.random.default_rng(seed).uniform(0.1, 0.9, (8, 2)) * size
    ImageDraw.Draw(image).line([tuple(point) for point in points], fill=20, width=4)
    return image


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("colours", [GREY, WHITE, DARK, BLUISH], ids=["grey", "white", "dark", "bluish"])
@pytest.mark.parametrize("icon", [False, True], ids=["text", "icon"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_one_in_two_classes_is_no_copy_but_a_placeholder(data, size, colours, icon, suffix):
    for name in ("cat", "dog"):
        placeholder(size, colours, icon=icon).save(data / name / f"none.{suffix}")
    findings = findings_of(data)
    found = findings.pop("placeholders")
    assert (found.severity, paths(found)) == ("warning", [[f"none.{suffix}"] * 2])
    assert found.items[0].note == "2 times, in 2 classes"
    assert "no class" in found.way_out
    assert set(findings) <= {"shrunk"}


def test_equal_and_near_ones_are_one_case_and_other_copies_stay(data):
    for name in ("cat", "dog"):
        placeholder().save(data / name / "none.jpg", quality=90)
    placeholder((200, 150)).save(data / "cat" / "small.jpg", quality=60)
    placeholder().save(data / "dog" / "other.webp", quality=50)
    scene(3).save(data / "dog" / "same.jpg", quality=95)
    findings = findings_of(data)
    assert paths(findings["placeholders"]) == [["none.jpg", "small.jpg", "none.jpg", "other.webp"]]
    assert paths(findings["two_classes"]) == [["03.jpg", "same.jpg"]]
    assert not {"copies", "near_two_classes", "near_copies", "near_two_splits"} & set(findings)


def test_several_times_in_one_class(data):
    for number in range(3):
        placeholder(text="No photo").save(data / "cat" / f"none{number}.png")
    (case,) = findings_of(data)["placeholders"].items
    assert case.note == "3 times, in 1 class"


@pytest.mark.parametrize("colour", ["white", "black", (12, 120, 200)])
def test_a_picture_of_one_colour_counts_alone(data, colour):
    Image.new("RGB", (90, 90), colour).save(data / "cat" / "empty.jpg")
    Image.new("RGBA", (90, 90), (0, 0, 0, 0)).save(data / "dog" / "clear.png")
    found = findings_of(data)["placeholders"]
    names = {name for case in paths(found) for name in case}
    assert names == {"empty.jpg", "clear.png"}
    if colour != "white":  # what is clear becomes white
        assert {case.note for case in found.items} == {"of one colour all over"}


def test_drawings_text_and_things_on_white_are_none(data):
    for seed in range(12):
        drawing(seed).save(data / "cat" / f"drawing{seed}.png")
    placeholder(text="A single sign").save(data / "dog" / "sign.png")
    for number in range(2):  # the same shaded thing on white, twice
        thing = Image.new("RGB", (200, 200), "white")
        thing.paste(scene(77, (110, 110)), (45, 45))
        thing.save(data / "dog" / f"thing{number}.png")
    findings = findings_of(data)
    assert "placeholders" not in findings
    assert paths(findings["copies"]) == [["thing0.png", "thing1.png"]]


def test_the_command_and_the_page_say_how_often(data, run_cli):
    for name in ("cat", "dog"):
        placeholder().save(data / name / "none.jpg")
    code, out, _ = run_cli("check", data, "--model", "separable_cnn")
    assert code == 1
    assert "warning: Pictures that look like placeholders (1 case)" in out
    assert "dog/none.jpg: 2 times, in 2 classes" in out
    assert "2 times, in 2 classes" in (data.parent / "check-data.html").read_text()


@pytest.mark.parametrize("offset", [0, 4, 7, 123, 240])
def test_grey_levels_do_not_depend_on_where_they_lie(offset):
    halves = np.zeros((64, 64), np.uint8)
    halves[:, 32:] = 15
    assert scan._levels(Image.fromarray(halves + np.uint8(offset))) == pytest.approx((0.5, 1.0))
    noisy = np.random.default_rng(0).integers(0, 4, (64, 64), np.uint8)
    assert scan._levels(Image.fromarray(noisy + np.uint8(offset))) == pytest.approx((1.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("name", ["trashnet", "traffic_lights/traffic_light_images"])
@pytest.mark.slow
def test_photos_are_none(shared, tmp_path, monkeypatch, name):
    monkeypatch.setenv("CEPTION_CACHE", str(tmp_path))
    assert "placeholders" not in findings_of(shared / name, out=tmp_path / "page.html")
