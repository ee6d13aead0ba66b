"""Whole Keras models of others: what their files say of size, scaling and head is followed, or refused by name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import ception
from ception.conversion import convert
from ception.conversion.targets import class_names_of
from ception.errors import InputError
from ception.models.config import TO_ONE, scaling_of
from ception.weights.followed import FollowedNetwork, counterparts
from ception.weights.graphs import UnfollowedError, nodes_of
from ception.weights.opening import open_weights
from support.parity import difference, fill, logits, pixels

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras's own files are checked there")
L = keras.layers
SIZE = 20


def body(x: Any) -> Any:
    """`separable_cnn` up to its hidden layer, in plain Keras, its layers with the names that Keras gives."""
    kernel = {"padding": "same", "activation": "selu"}
    for number, filters in enumerate((32, 64, 128)):
        x = (L.SeparableConv2D if number else L.Conv2D)(filters, 3, **kernel)(x)
        x = L.MaxPooling2D(2)(L.SeparableConv2D(filters, 3, **kernel)(x))
    return L.Dense(128, activation="selu")(L.Flatten()(x))


def theirs(*, before: Any = lambda x: x, head: Any = None, size: int | None = SIZE) -> keras.Model:
    """Somebody's model, whose weights have values of their own."""
    image = keras.Input((size, size, 3))
    network = keras.Model(image, (head or L.Dense(3, activation="softmax"))(body(before(image))))
    fill(network, seed=3)
    return network


def converted(network: keras.Model, folder: Path, name: str = "theirs.keras", **options: Any) -> ception.Classifier:
    """The classifier that conversion of the saved model gives."""
    network.save(folder / name)
    convert(folder / name, "separable_cnn", out=folder / "ours.keras", **options)
    return ception.Classifier.load(folder / "ours.keras")


def sequence(*layers: Any) -> Any:
    def apply(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return apply


@pytest.mark.filterwarnings("ignore::UserWarning:keras", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("before", "scaling"),
    [
        (L.Rescaling(1 / 255), (0.0, 255.0)),
        (L.Rescaling(1 / 127.5, -1), (127.5, 127.5)),
        (sequence(L.RandomFlip(), keras.applications.xception.preprocess_input), (127.5, 127.5)),
        (L.Rescaling([1 / 50, 1 / 60, 1 / 70], [-1, -2, 0]), ((50.0, 120.0, 0.0), (50.0, 60.0, 70.0))),
        (L.Normalization(mean=[1, 2, 3], variance=[4, 9, 16]), ((1.0, 2.0, 3.0), (2.0, 3.0, 4.0))),
        (sequence(L.Rescaling(1 / 255), L.Normalization(mean=0.5, variance=0.25)), (127.5, 127.5)),
        (lambda x: (x + 3) * 0.25, (-3.0, 4.0)),
    ],
)
def test_scaling_inside_the_file_is_followed(tmp_path, before, scaling):
    network = theirs(before=before, head=L.Dense(3))
    ours = converted(network, tmp_path)
    np.testing.assert_allclose(ours.config.mean_and_std(), np.broadcast_arrays(*map(np.array, scaling)), rtol=1e-6)
    batch = pixels(2, (SIZE, SIZE, 3))
    assert difference(ours.logits(batch), logits(network, batch)) < 1e-5
    assert ours.record["taken"]["scaling"].endswith("as the file says")


def test_statistics_that_a_normalisation_learnt_are_followed(tmp_path):
    learnt = L.Normalization()
    batch = pixels(3, (SIZE, SIZE, 3))
    learnt.adapt(batch)
    network = theirs(before=lambda x: learnt(x), head=L.Dense(3))
    learnt.adapt(batch)  # what `theirs` filled in
    assert difference(converted(network, tmp_path).logits(batch), logits(network, batch)) < 1e-5


@pytest.mark.filterwarnings("ignore")  # Keras warns of its own legacy format
@pytest.mark.parametrize("name", ["theirs.keras", "theirs.h5"])
def test_size_and_classes_are_the_files(tmp_path, name):
    network = theirs(before=L.Rescaling(1 / 255), head=sequence(L.Dropout(0.3), L.Dense(5), L.Activation("softmax")))
    ours = converted(network, tmp_path, name)
    assert ours.image.shape == (SIZE, SIZE, 3)
    assert (ours.image.resize, ours.image.crop) == ("squash", 1.0)
    assert ours.class_names == tuple("01234")
    batch = pixels(2, (SIZE, SIZE, 3))
    np.testing.assert_allclose(ours.probabilities(batch), network(batch, training=False), atol=1e-5)
    certificate = json.loads((tmp_path / "ours.certificate.json").read_text())
    assert certificate["taken"] == {
        "head": "5 classes (softmax)", "image_size": "20 x 20 pixels, as the file says",
        "scaling": "(pixel - 0) / 255, as the file says",
    }  # fmt: skip


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("use_bias", [True, False])
def test_one_output_becomes_two_classes_with_its_probabilities(tmp_path, activation, use_bias):
    network = theirs(before=L.Rescaling(1 / 255), head=L.Dense(1, activation=activation, use_bias=use_bias))
    ours = converted(network, tmp_path, class_names=("cat", "dog"))
    batch = pixels(2, (SIZE, SIZE, 3))
    expected = keras.ops.convert_to_numpy(network(batch, training=False))[:, 0]
    if activation is None:
        expected = 1 / (1 + np.exp(-expected))
    assert abs(expected[0] - expected[1]) > 0.01
    np.testing.assert_allclose(ours.probabilities(batch)[:, 1], expected, atol=1e-5)
    assert ours.class_names == ("cat", "dog")
    assert "one output" in ours.record["taken"]["head"]


@pytest.mark.slow
def test_one_output_of_weights_alone_becomes_two_classes_too(tmp_path):
    network = keras.applications.Xception(weights=None, input_shape=(71, 71, 3), classes=1, classifier_activation=None)
    fill(network, seed=5)
    network.save_weights(tmp_path / "one.weights.h5")
    classifier, report, _ = ception.Classifier.pretrained("xception", tmp_path / "one.weights.h5", image_size=71)
    batch = pixels(2, (71, 71, 3))
    found = classifier.logits(batch)
    assert difference(found[:, 1:] - found[:, :1], logits(network, batch / 127.5 - 1)) < 1e-5
    assert "one output" in str(report)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"before": L.Lambda(lambda x: x / 255)}, r"layer 'lambda\w*' \(Lambda\) .*: say with --scaling"),
        ({"before": lambda x: 255 - x}, "is not followed|say with --scaling"),
        ({"before": L.Rescaling(-1 / 255, 1)}, "turns the pixels around"),
        ({"before": L.Resizing(SIZE, SIZE)}, r"\(Resizing\)"),
        ({"head": L.Dense(3, activation="sigmoid")}, "a probability of its own"),
        ({"head": L.Dense(1, activation="softmax")}, "tells no classes apart"),
        ({"head": L.Dense(3, activation="relu")}, r"\(relu\) is no softmax"),
        ({"head": sequence(L.Dense(8), L.Dense(3))}, r"layer 'dense\w*' \(Dense\) is not where"),
        ({"head": sequence(L.UnitNormalization(), L.Dense(3))}, r"\(UnitNormalization\) is not followed"),
        ({"head": sequence(L.BatchNormalization(), L.Dense(3))}, r"\(BatchNormalization\) is not where"),
        ({"head": sequence(L.Dense(3), L.Softmax(), L.Dense(2))}, "is not where"),
    ],
)
def test_what_is_not_followed_is_refused_by_name(tmp_path, options, says):
    theirs(**options).save(tmp_path / "t.keras")
    with pytest.raises(InputError, match=says) as caught:
        convert(tmp_path / "t.keras", "separable_cnn", out=tmp_path / "o.keras")
    assert "ception train DATA --model separable_cnn --weights" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.keras").exists()


@pytest.mark.filterwarnings("ignore")  # Keras warns of Lambda
def test_what_is_given_by_hand_wins(tmp_path):
    """Also over a layer that is not followed: nothing of the file is run."""
    network = theirs(before=sequence(L.Lambda(lambda x: x / 255)))
    network.save(tmp_path / "doubtful.keras")
    opened = open_weights("separable_cnn", tmp_path / "doubtful.keras")
    assert opened.scaling == TO_ONE
    assert "(Lambda) does to the pixels what is not followed; pixels are taken as" in opened.doubt
    ours = converted(network, tmp_path, scaling=scaling_of("unit"), image_size=21, class_names=("a", "b", "c"))
    assert ours.config.scaling == (0.0, 255.0)
    assert ours.record["taken"]["scaling"] == "(pixel - 0) / 255, given by hand"
    assert ours.class_names == ("a", "b", "c")
    with pytest.raises(InputError, match="has 3 classes, but --classes names 2"):
        convert(tmp_path / "theirs.keras", "separable_cnn", out=tmp_path / "o.keras", class_names=("a", "b"),
                scaling=scaling_of("unit"))  # fmt: skip


def test_the_number_of_classes_is_no_option(tmp_path):
    with pytest.raises(InputError, match="name them with class_names"):
        convert(tmp_path / "t.keras", "separable_cnn", out=tmp_path / "o.keras", classes=3)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_a_body_within_and_its_pooling(tmp_path):
    inner = keras.applications.Xception(weights=None, include_top=False, input_shape=(71, 71, 3))
    image = keras.Input((71, 71, 3))
    maps = inner(L.Rescaling(1 / 255)(image), training=False)
    network = keras.Model(image, L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(maps)))
    fill(inner, seed=5)
    network.save(tmp_path / "average.keras")
    certificate = convert(tmp_path / "average.keras", "xception", out=tmp_path / "ours.keras")
    assert certificate.filled_by == "the file's own configuration"
    assert certificate.logits is not None
    assert certificate.logits < 1e-5
    ours, batch = ception.Classifier.load(tmp_path / "ours.keras"), pixels(2, (71, 71, 3))
    np.testing.assert_allclose(ours.probabilities(batch), network(batch, training=False), atol=1e-5)
    keras.Model(image, L.Dense(4)(L.GlobalMaxPooling2D()(maps))).save(tmp_path / "maximum.keras")
    with pytest.raises(InputError, match="pools by maximum, not by average"):
        convert(tmp_path / "maximum.keras", "xception", out=tmp_path / "o.keras")


def test_layers_of_equal_shape_are_told_apart_by_what_follows():
    """Of Inception's equal 1 x 1 convolutions, each has its own."""
    network = ception.build("inception_v3", image_size=75, depth_multiplier=0.1, min_depth=8)
    one = FollowedNetwork(json.loads(network.to_json()), {})
    matched = counterparts(one, FollowedNetwork(json.loads(network.to_json()), {}))
    weighted = [layer.name for layer in network.layers if layer.weights]
    assert {name: matched[name] for name in weighted} == {name: name for name in weighted}


@pytest.mark.slow
def test_a_port_is_told_by_the_graph(tmp_path):
    """Names of our own do not tell whose rules a network follows; its graph does."""
    network = ception.build("inception_v3", image_size=75, classes=3, port="torchvision")
    fill(network, seed=2)
    network.save_weights(tmp_path / "w.weights.h5")
    with zipfile.ZipFile(tmp_path / "theirs.keras", "w") as archive:
        archive.write(tmp_path / "w.weights.h5", "model.weights.h5")
        archive.writestr("config.json", network.to_json())
    ours, _, _ = ception.Classifier.pretrained("inception_v3", tmp_path / "theirs.keras")
    assert ours.config.port == "torchvision"
    batch = pixels(2, (75, 75, 3))
    assert difference(ours.logits(batch), logits(network, batch)) < 1e-5


def test_options_that_change_the_numbers_are_seen():
    network = json.loads(theirs().to_json())
    other = json.loads(json.dumps(network).replace('"selu"', '"elu"'))
    with pytest.raises(UnfollowedError, match=r"\(elu\) is not where"):
        counterparts(FollowedNetwork(other, {}), FollowedNetwork(network, {}))


@pytest.mark.parametrize(
    "damage", [{}, {"config": 3}, {"config": {"layers": [{}]}}, {"class_name": "Mine", "config": {}}]
)
def test_configurations_that_keras_does_not_write(damage):
    with pytest.raises(UnfollowedError):
        nodes_of({"class_name": "Functional", **damage})


def test_several_outputs_and_shared_layers_are_refused():
    image = keras.Input((SIZE, SIZE, 3))
    dense = L.Dense(4)
    features = L.Flatten()(image)
    with pytest.raises(UnfollowedError, match="2 outputs"):
        nodes_of(json.loads(keras.Model(image, [dense(features), L.Dense(2)(features)]).to_json()))
    square = L.Dense(8, name="square")
    once = square(L.Dense(8)(features))
    with pytest.raises(UnfollowedError, match="'square' is used 2 times"):
        nodes_of(json.loads(keras.Model(image, square(once)).to_json()))


def test_the_layout_of_keras_2():
    """Its operations with a constant, its calls, and a model within a model."""

    def layer(kind: str, name: str, inputs: Any, **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inputs}

    head = {"class_name": "Sequential", "name": "end", "config": {"name": "end", "layers": [
        {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.5}},
        {"class_name": "Dense", "config": {"name": "out", "units": 2, "use_bias": True, "activation": "softmax"}},
    ]}, "inbound_nodes": [[["flat", 0, 0, {}]]]}  # fmt: skip
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 8, 8, 3]),
        layer("TFOpLambda", "div", [["in", 0, 0, {"y": 127.5, "name": None}]], function="math.truediv"),
        layer("TFOpLambda", "sub", [["div", 0, 0, {"y": 1.0, "name": None}]], function="math.subtract"),
        layer("Conv2D", "c", [[["sub", 0, 0, {}]]], filters=2, kernel_size=[3, 3], activation="relu"),
        layer("Flatten", "flat", [[["c", 0, 0, {}]]]),
        head,
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["end", 0, 0]]}
    network = FollowedNetwork({"class_name": "Functional", "config": config}, {})
    assert network.scaling == (127.5, 127.5)
    assert network.shape == (8, 8, 3)
    assert network.head is not None
    assert (network.head.layer, network.head.units, network.head.activation) == ("out", 2, "softmax")
    assert [node.kind for node in network.body] == ["InputLayer", "Conv2D", "Activation", "Flatten"]


def test_scaling_and_classes_as_they_are_typed(tmp_path):
    assert scaling_of("127.5,64") == (127.5, 64.0)
    assert scaling_of("unit") == (0.0, 255.0)
    for wrong in ("x", "1", "1,0", "nan,1", "1,2,3"):
        with pytest.raises(InputError, match="--scaling must be MEAN,STD"):
            scaling_of(wrong)
    names = tmp_path / "names.txt"
    names.write_text("a cat\nb\n", encoding="utf-8")
    assert class_names_of(str(names)) == ("a cat", "b")
    assert class_names_of("cat, dog") == ("cat", "dog")
    for wrong, says in (("cat", "must be names"), ("cat,cat", "has cat twice")):
        with pytest.raises(InputError, match=says):
            class_names_of(wrong)


def test_options_of_convert(run_cli, tmp_path):
    theirs().save(tmp_path / "t.keras")
    out = tmp_path / "o.keras"
    code, said, _ = run_cli("convert", tmp_path / "t.keras", "--model", "separable_cnn", "--out", out, "--classes",
                            "a,b,c", "--scaling", "0,255", "--image-size", "20")  # fmt: skip
    assert code == 0
    assert "Scaling: (pixel - 0) / 255, given by hand\n" in said
    assert "Image size: 20 x 20 pixels, given by hand\n" in said
    assert "Classes: a, b, c, given by hand\n" in said
    code, _, err = run_cli("convert", out, "--to", "timm", "--scaling", "unit")
    assert (code, err.count("\n")) == (2, 1)
    assert "--scaling belongs to --model" in err
