"""Heat maps follow what matters in a picture, on every backend, and say themselves when they mean nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

import ception
from ception.data.images import ImageContract
from ception.errors import InputError
from ception.explaining import checks, methods, overlays
from ception.explaining.gradients import output_and_gradient
from ception.results import Evidence
from support.parity import fill
from support.reporters import Notes

SIDE = 32


@pytest.fixture(scope="module")
def finder():
    """A network whose first class is the brightness of single places, found by convolutions without padding's help."""
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255, name="scaling")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="block1_conv1")(x)
    x = keras.layers.MaxPooling2D(2, name="block1")(x)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="block2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    network = keras.Model(image, keras.layers.Dense(2, name="logits")(x), name="finder")
    random = np.random.default_rng(0)
    weights = [np.abs(random.normal(size=weight.shape)).astype(np.float32) * 0.2 for weight in network.get_weights()]
    weights[1][:], weights[3][:] = -0.5, -0.2  # what is dark counts for nothing
    weights[-2][:, 1] *= -1
    network.set_weights(weights)
    return network


def spot(row: int, column: int) -> np.ndarray:
    """A dark picture with a bright square."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[row : row + 6, column : column + 6] = 255
    return picture


def warmest(values: np.ndarray) -> tuple[float, float]:
    """The middle of what is warm, as shares of the map's sides."""
    warm = np.maximum(values, 0)
    warm = warm * (warm > 0.5 * warm.max())
    rows, columns = np.indices(warm.shape)
    return tuple(float((where * warm).sum() / warm.sum() + 0.5) / side
                 for where, side in zip((rows, columns), warm.shape, strict=True))  # fmt: skip


@pytest.mark.parametrize("method", methods.METHODS)
def test_a_bright_object_that_moves_moves_the_map(finder, method):
    parts = methods.parts_of(finder)
    assert parts.layer == "block2"
    for row, column in ((2, 2), (2, 22), (20, 6)):
        found = methods.heat_map(parts, spot(row, column), 0, method)
        at = warmest(found.values)
        assert at == pytest.approx(((row + 3) / SIDE, (column + 3) / SIDE), abs=0.09)
        if method == "integrated-gradients":
            assert found.completeness < 0.05


def test_a_gradient_is_the_change_of_the_output(finder):
    inputs = np.random.default_rng(1).uniform(100, 200, (2, SIDE, SIDE, 3)).astype(np.float32)
    outputs, gradient = output_and_gradient(finder, inputs, 1)
    assert (outputs.shape, gradient.shape) == ((2, 2), inputs.shape)
    step = np.zeros_like(inputs)
    step[0, 5, 7], step[1, 20, 3] = 2.0, 2.0
    changed = np.asarray(finder.predict_on_batch(inputs + step))[:, 1]
    expected = np.array([gradient[0, 5, 7].sum(), gradient[1, 20, 3].sum()]) * 2
    assert changed - outputs[:, 1] == pytest.approx(expected, rel=0.05)


def test_every_backend_draws_the_same():
    """Against numbers that TensorFlow gave."""
    network = ception.build("separable_cnn", image_size=16, channels=3, classes=3, seed=1)
    fill(network, seed=2)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    parts = methods.parts_of(network)
    found = methods.heat_map(parts, pixels, 1, "gradcam").values
    expected = np.array(GRADCAM, np.float32)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-2 * expected.max()
    shares = methods.heat_map(parts, pixels, 1, "integrated-gradients")
    assert float(shares.values.sum()) == pytest.approx(SHARES, rel=1e-2)


GRADCAM = [[1.17259, 0.48461], [0.0, 0.0]]
SHARES = 0.72519


def test_a_trained_map_is_told_from_a_shuffled_ones(trained, tmp_path):
    classifier = ception.Classifier.load(trained)
    picture = next((trained.parents[1] / "colours").rglob("*.png"))
    (explained,) = ception.explain(classifier, picture, method="occlusion", out=tmp_path)
    assert explained.evidence.alike < 0.9
    constant = methods.HeatMap(np.ones((4, 4), np.float32))
    parts = methods.parts_of(classifier.network)
    shuffled = checks.randomised(classifier.config, parts)
    assert not any(
        np.array_equal(one, other) for one, other in zip(
            parts.whole.get_weights(), shuffled.whole.get_weights(), strict=True
        ) if np.ptp(one)
    )  # fmt: skip
    found = checks.evidence(
        parts, shuffled, constant, np.zeros((16, 16, 3), np.uint8), 0, "gradcam", classifier.softmax
    )
    assert found.alike == 1.0
    assert not found.explains
    assert (found.insertion, found.deletion) == (found.insertion_by_chance, found.deletion_by_chance)
    assert found.verdict == "it marks nothing"
    (told,) = found.told
    assert told.startswith("The map marks nothing")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(
    ("alike", "says"),
    [
        (0.1, ("The map shows what counts for the class here: it passed 3 of 3 tests", "passed", "passed", "passed")),
        (0.95, ("Do not trust the map: it failed 1 of 3 tests", "passed", "passed", "failed")),
    ],
)
def test_what_was_tested_is_told_in_words(alike, says):
    found = Evidence(
        insertion=0.6, deletion=0.2, insertion_by_chance=0.4, deletion_by_chance=0.3, alike=alike, explains=alike < 0.9
    )
    told = found.told
    assert (told[0], *(line.partition(":")[0] for line in told[1:])) == says
    assert "probability of 0.600, in random order 0.400 (must be higher)" in told[1]
    assert "0.200, in random order 0.300 (must be lower)" in told[2]
    assert f"like this one by {alike:.3f} (rank correlation, must be below 0.9)" in told[3]


class TestOverlays:
    @pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
    def test_the_map_lies_where_the_network_looked(self, resize):
        """The warm middle of a map is the picture's middle, however it was made square."""
        contract = ImageContract(height=8, width=8, channels=3, resize=resize)
        values = np.zeros((8, 8), np.float32)
        values[3:5, 3:5] = 2
        warmth = overlays.in_picture(values, contract, (60, 30))
        assert warmth.shape == (30, 60)
        assert warmth.max() <= 1
        assert warmest(warmth) == pytest.approx((0.5, 0.5), abs=0.03)
        unseen = warmth[:, :14].max()
        assert unseen == 0 if resize == "crop" else unseen < 0.1

    def test_what_speaks_against_is_not_warm(self):
        contract = ImageContract(height=4, width=4, channels=3)
        assert overlays.in_picture(-np.ones((4, 4), np.float32), contract, (10, 10)).max() == 0

    def test_a_text_below_a_narrow_picture_is_whole(self):
        narrow, wide = (
            overlays.with_text(Image.new("RGB", (width, 9)), "metal 44%: do not trust it") for width in (20, 900)
        )
        assert narrow.width > 200
        assert wide.width == 900
        text = ImageOps.invert(narrow.crop((0, 9, *narrow.size))).getbbox()
        assert text == ImageOps.invert(wide.crop((0, 9, *wide.size))).getbbox()
        assert text[2] < narrow.width

    def test_small_and_large_pictures_can_be_looked_at(self):
        assert overlays.visible(Image.new("RGB", (10, 20))).size == (160, 320)
        assert overlays.visible(Image.new("RGB", (4000, 2000))).size == (640, 320)
        assert overlays.visible(Image.new("RGB", (500, 400))).size == (500, 400)


def network_with_a_shortcut(side: int) -> keras.Model:
    inputs = keras.Input((side, side, 3))
    first = keras.layers.Conv2D(4, 1, name="block1")(inputs)
    second = keras.layers.Add(name="block2")([first, keras.layers.Conv2D(4, 1, name="block2_conv")(first)])
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(second))
    return keras.Model(inputs, logits, name="tiny")


@pytest.mark.slow
def test_a_map_of_few_places_is_told_with_what_has_more(tmp_path):
    classifier = ception.Classifier.build("inception_v1", ["a", "b"], image_size=64, depth_multiplier=0.05)
    picture = np.zeros((64, 64, 3), np.uint8)
    ception.explain(classifier, picture, out=tmp_path, checks=False, reporter=(notes := Notes()))
    assert notes.notes[-1] == "A heat map of mixed5c has 2 x 2 places: --layer mixed4f has 4 x 4"
    assert methods.told_coarse(classifier.network, "mixed4f") == ""


class TestCommand:
    def test_writes_drawings_and_says_what_they_are_worth(self, run_cli, trained, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        pictures = sorted((trained.parents[1] / "colours" / "red").iterdir())[:2]
        (tmp_path / "broken.png").write_bytes(pictures[0].read_bytes()[:60])
        code, out, err = run_cli("explain", trained, *pictures, "broken.png", "--method", "all", "--class", "red")
        assert code == 0
        assert f"Explaining 3 pictures by {', '.join(methods.METHODS)}" in err
        folder = tmp_path / f"explanations-{trained.name}"
        told = json.loads((folder / "explanations.json").read_text())
        assert [one["method"] for one in told] == [*methods.METHODS] * 2 + [""]
        assert told[-1]["error"]
        assert {one["class_name"] for one in told[:-1]} == {"red"}
        for one in told[:-1]:
            assert max(size_of(tmp_path / one["picture"])) == 320
            assert one["evidence"]["explains"] in (True, False)
        assert size_of(folder / "sheet.png") == ((4 + 3) * 240, 2 * 240 + 24)  # three training pictures beside
        assert f"{pictures[0]}: red " in out
        assert len(re.findall(r"^  (?:Do not trust|The map shows) ", out, re.MULTILINE)) == 6
        assert len(re.findall(r"^    (?:passed|failed): ", out, re.MULTILINE)) == 18
        assert out.splitlines()[-2] == f"All beside one another in {folder.name}/sheet.png"
        assert out.splitlines()[-1].startswith("Next: ception serve ")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"class_name": "rde"}, "there is no class 'rde': did you mean 'red'"),
            ({"layer": "block9"}, "has no endpoint 'block9': did you mean"),
            ({"layer": "logits"}, "logits has no places to look at"),
        ],
    )
    def test_refusals(self, trained, options, said, tmp_path):
        with pytest.raises(InputError, match=said):
            ception.explain(trained, np.zeros((16, 16, 3), np.uint8), out=tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    def test_a_network_of_single_places(self):
        with pytest.raises(InputError, match="tiny has no endpoint with more than one place: take --method occlusion"):
            methods.parts_of(network_with_a_shortcut(1))

    def test_a_layer_that_others_go_around(self):
        with pytest.raises(InputError, match="tiny cannot be cut at block2_conv: name an endpoint, such as block2"):
            methods.parts_of(network_with_a_shortcut(8), "block2_conv")

    def test_an_export_has_no_gradients(self, tmp_path):
        (tmp_path / "it.onnx").write_bytes(b"")
        with pytest.raises(
            InputError, match="is an export, which gives answers, but no weights and no gradients: name"
        ):
            ception.explain(tmp_path / "it.onnx", np.zeros((16, 16, 3), np.uint8))
