from __future__ import annotations

import io
import json
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ception import Classifier, build
from ception.data.images import ImageContract
from ception.errors import InputError, RunError
from ception.models import NetworkConfig


def fresh(name: str = "separable_cnn", **options) -> Classifier:
    arguments = {"name": name, "classes": 3, "image_size": [16, 16], "channels": 3, "scaling": [120.0, 60.0]} | options
    height, width = arguments["image_size"]
    return Classifier(
        network=build(**arguments, seed=0),
        config=NetworkConfig.of(**arguments),
        class_names=("a", "b", "ü/ß"),
        image=ImageContract(height=height, width=width, channels=arguments["channels"], resize="pad"),
        record={"settings": {"epochs": 1}},
        training_digests=np.frombuffer(bytes(range(12)), "V6"),
        training_pixels=np.frombuffer(bytes(range(20, 38)), "V6"),
    )


def pictures(count: int = 5, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.keras"
    fresh().save(path)
    return path


def rewritten(source: Path, target: Path, member: str, data: bytes | None) -> Path:
    """A copy of a model file in which one member is replaced, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
            elif data is not None:
                new.writestr(name, data)
    return target


class TestSaveAndLoad:
    def test_all_that_belongs_to_it_comes_back(self, saved):
        again, classifier = Classifier.load(saved), fresh()
        assert again.class_names == classifier.class_names
        assert again.image == classifier.image
        assert again.record == classifier.record
        assert again.config == classifier.config
        assert again.training_digests.tolist() == classifier.training_digests.tolist()
        assert again.training_pixels.tolist() == classifier.training_pixels.tolist()

    def test_plain_keras_opens_it(self, saved):
        config = json.loads(zipfile.ZipFile(saved).read("config.json"))
        assert "ception" not in json.dumps(config)
        model = keras.saving.load_model(saved, safe_mode=True)
        assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
        x = pictures().astype("float32")
        np.testing.assert_array_equal(model.predict_on_batch(x), fresh().network.predict_on_batch(x))

    def test_no_trace_of_the_training_is_saved(self, tmp_path, saved):
        classifier = fresh()
        classifier.network.compile("adam", "mse")
        classifier.network.optimizer.build(classifier.network.trainable_variables)
        classifier.save(tmp_path / "m.keras")
        assert abs((tmp_path / "m.keras").stat().st_size - saved.stat().st_size) < 2000
        assert not json.loads(zipfile.ZipFile(tmp_path / "m.keras").read("config.json"))["compile_config"]

    def test_a_file_is_whole_or_not_there(self, tmp_path, monkeypatch):
        monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(RunError, match=r"m\.keras cannot be written: No space left"):
            fresh().save(tmp_path / "m.keras")
        assert list(tmp_path.iterdir()) == []

    def test_unwritable_place(self):
        with pytest.raises(RunError, match="cannot be written"):
            fresh().save("/proc/none/m.keras")


class TestWrongFiles:
    @pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
    def test_truncated(self, saved, tmp_path, share):
        data = saved.read_bytes()
        (tmp_path / "m.keras").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match="no whole model file"):
            Classifier.load(tmp_path / "m.keras")

    def test_missing_folder_and_text(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            Classifier.load(tmp_path / "none.keras")
        with pytest.raises(InputError, match="is a folder without model"):
            Classifier.load(tmp_path)
        (tmp_path / "text.keras").write_text("text")
        with pytest.raises(InputError, match="no whole model file"):
            Classifier.load(tmp_path / "text.keras")

    def test_plain_keras_file(self, tmp_path):
        build("separable_cnn").save(tmp_path / "plain.keras")
        with pytest.raises(InputError, match=r"without model\.json"):
            Classifier.load(tmp_path / "plain.keras")

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"format": 99}, "format 99"),
            ({"network": {"name": "no_such_net"}}, "no_such_net"),
            ({"network": {"name": "separable_cnn", "evil": 1}}, "evil"),
            ({"network": {"name": "xception", "weights": "imagenet"}}, "a network has no option 'weights'"),
            ({"image": {"height": 3}}, "broken model file"),
            ({"class_names": None}, "broken model file"),
            ({"record": []}, "its record no object"),
            ({"calibration": {"temperature": 0, "coverage": []}}, "its temperature is no number above 0"),
            ({"calibration": {"temperature": 1, "coverage": [3]}}, "broken model file"),
            ({"network": {"name": "xception", "every": [1]}}, "every must be columns by name"),
            ({"network": {"name": "xception", "depth_multiplier": 1e308}}, "depth_multiplier must be a number above 0"),
            (
                {"network": {"name": "separable_cnn", "classes": 4, "image_size": 16, "channels": 3}},
                "does not fit its network",
            ),
        ],
    )
    def test_description_that_lies(self, saved, tmp_path, change, says):
        described = json.loads(zipfile.ZipFile(saved).read("model.json")) | change
        path = rewritten(saved, tmp_path / "m.keras", "model.json", json.dumps(described).encode())
        with pytest.raises(InputError, match=says):
            Classifier.load(path)

    def test_weights_missing_or_of_another_shape(self, saved, tmp_path):
        with pytest.raises(InputError, match=r"model\.weights\.h5"):
            Classifier.load(rewritten(saved, tmp_path / "a.keras", "model.weights.h5", None))
        stream = io.BytesIO(zipfile.ZipFile(saved).read("model.weights.h5"))
        with h5py.File(stream, "r+") as file:
            del file["layers/dense/vars/0"]
        path = rewritten(saved, tmp_path / "b.keras", "model.weights.h5", stream.getvalue())
        with pytest.raises(InputError, match="head_dense has 1 tensors instead of 2"):
            Classifier.load(path)

    def test_the_graph_in_the_file_is_never_built(self, saved, tmp_path):
        path = rewritten(saved, tmp_path / "m.keras", "config.json", b'{"class_name": "Lambda", "module": "os"}')
        np.testing.assert_array_equal(Classifier.load(path).logits(pictures()), fresh().logits(pictures()))

    def test_tensors_outside_the_file_are_not_read(self, saved, tmp_path):
        with h5py.File(tmp_path / "outside.h5", "w") as file:
            file["secret"] = np.zeros((1152, 128), "float32")
        stream = io.BytesIO(zipfile.ZipFile(saved).read("model.weights.h5"))
        with h5py.File(stream, "r+") as file:
            shape = file["layers/dense/vars/0"].shape
            del file["layers/dense/vars/0"]
            file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "outside.h5"), "secret")
            assert shape[1] == 128
        path = rewritten(saved, tmp_path / "m.keras", "model.weights.h5", stream.getvalue())
        with pytest.raises(InputError, match="links its members, perhaps to other files"):
            Classifier.load(path)

    @settings(max_examples=40)
    @given(place=st.floats(0, 0.999), value=st.integers(0, 255))
    def test_a_flipped_byte_never_gives_a_traceback(self, saved, tmp_path_factory, place, value):
        path = tmp_path_factory.mktemp("flip") / "m.keras"
        data = bytearray(saved.read_bytes())
        data[int(place * len(data))] = value
        path.write_bytes(data)
        with suppress(InputError):
            assert Classifier.load(path).class_names
        shutil.rmtree(path.parent)


class TestUse:
    def test_probabilities(self):
        found = fresh().probabilities(pictures())
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
        np.testing.assert_array_equal(found.argmax(-1), fresh().logits(pictures()).argmax(-1))

    def test_pictures_of_another_size_are_refused(self):
        with pytest.raises(InputError, match=r"of shape \(count, 16, 16, 3\), got \(5, 20, 20, 3\)"):
            fresh().logits(pictures(size=20))
        with pytest.raises(InputError, match=r"of shape \(count, 16, 16, 3\), got \(16, 16, 3\)"):
            fresh().logits(pictures()[0])

    def test_a_list_is_a_batch_too(self):
        np.testing.assert_array_equal(fresh().logits(list(pictures())), fresh().logits(pictures()))

    def test_floats_up_to_1_are_refused(self):
        with pytest.raises(InputError, match="multiply them by 255"):
            fresh().probabilities(pictures() / 255)

    def test_knows_its_training_pictures(self):
        digests = np.frombuffer(bytes([*range(6, 12), *range(10), *range(1, 17)]), "V16")
        assert fresh().seen_in_training(digests).tolist() == [True, False]
