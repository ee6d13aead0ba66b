"""Weights of others become model files with a certificate, and go back to where they came from."""

from __future__ import annotations

import hashlib
import json

import keras
import numpy as np
import pytest
from PIL import Image

import ception
from ception.conversion import convert
from ception.conversion.export import export_weights
from ception.data.images import ImageContract, to_pixels
from ception.errors import InputError
from support.originals import in_torch, write_legacy
from support.parity import difference, fill, logits, pixels

BACKEND = keras.backend.backend()


pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow and PyTorch check conversion")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras's own files are checked on TensorFlow")


@pytest.fixture(scope="module")
def original():
    """Keras's Inception V3 for four classes, with weights of its own."""
    network = keras.applications.InceptionV3(
        weights=None, input_shape=(299, 299, 3), classes=4, classifier_activation=None
    )
    fill(network, seed=4)
    return network


@pytest.fixture(scope="module")
def legacy(original, tmp_path_factory):
    return write_legacy(original, tmp_path_factory.mktemp("weights") / "theirs.h5")


@pytest.fixture(scope="module")
def converted(legacy, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "ours.keras"
    return out, convert(legacy, "inception_v3", out=out)


@on_tensorflow
class TestKeras:
    def test_certificate_compares_every_endpoint_on_photographs(self, converted, legacy):
        out, certificate = converted
        assert certificate.original.startswith("keras.applications.InceptionV3")
        assert certificate.filled_by == "its own reader"
        assert set(certificate.endpoints) == {f"mixed{number}" for number in range(11)}
        assert max(certificate.endpoints.values()) < 1e-5
        assert certificate.logits < 1e-5
        written = json.loads(out.with_suffix(".certificate.json").read_text())
        assert written == certificate.as_dict()
        assert list(written) == [
            "source", "sha256", "model", "scheme", "matched", "missing", "unused", "adapted", "taken", "original",
            "filled_by", "endpoints", "logits", "out",
        ]  # fmt: skip
        assert written["sha256"] == hashlib.sha256(legacy.read_bytes()).hexdigest()

    @pytest.mark.slow
    def test_a_wrong_tensor_shows_in_the_certificate(self, original, tmp_path, monkeypatch):
        """The comparison is with what the original's own reader makes of the file, not with our reading of it."""
        import ception.weights.loading as module

        real = module._match

        def wrong(pair, tensor, shape, report, filled):
            real(pair, tensor * 1.1 if pair.ours == "mixed4_branch1_conv2/kernel" else tensor, shape, report, filled)

        monkeypatch.setattr(module, "_match", wrong)
        path = write_legacy(original, tmp_path / "theirs.h5")
        certificate = convert(path, "inception_v3", out=tmp_path / "ours.keras")
        assert certificate.endpoints["mixed3"] < 1e-5
        assert certificate.endpoints["mixed4"] > 1e-3

    @pytest.mark.slow  # what is converted is compared in another test
    def test_the_model_file_is_the_original(self, converted, original):
        out, _ = converted
        classifier = ception.Classifier.load(out)
        assert classifier.class_names == ("0", "1", "2", "3")
        assert (classifier.image.resize, classifier.image.crop) == ("crop", 0.875)
        batch = pixels(2, (299, 299, 3))
        assert difference(classifier.logits(batch), logits(original, batch / 127.5 - 1)) < 1e-5

    @pytest.mark.slow
    def test_back_to_keras(self, converted, tmp_path):
        out, _ = converted
        done = export_weights(out, "keras-applications", out=tmp_path / "back.weights.h5")
        theirs = keras.applications.InceptionV3(
            weights=done.out, input_shape=(299, 299, 3), classes=4, classifier_activation=None
        )
        batch = pixels(2, (299, 299, 3))
        assert difference(logits(theirs, batch / 127.5 - 1), ception.Classifier.load(out).logits(batch)) < 1e-5
        assert done.use == f"keras.applications.InceptionV3(weights='{done.out}', classes=4)"

    def test_another_library_that_would_compute_something_else(self, converted, tmp_path):
        with pytest.raises(InputError, match="follows the rules of the publication: timm would compute something else"):
            export_weights(converted[0], "timm", out=tmp_path / "x.safetensors")


@pytest.mark.skipif(BACKEND != "torch", reason="compares with PyTorch")
@pytest.mark.parametrize(
    ("name", "theirs", "compared"),
    [
        ("xception", "legacy_xception", {f"block{number}" for number in range(2, 14)}),
        (
            "inception_v3",
            "inception_v3",
            {"conv1a", "conv2a", "conv2b", "conv3b", "conv4a", *(f"mixed{number}" for number in range(11))},
        ),
    ],
)
def test_timm_and_back(name, theirs, compared, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    network = in_torch(theirs)
    save_file(network.state_dict(), tmp_path / "theirs.safetensors")
    certificate = convert(tmp_path / "theirs.safetensors", name, out=tmp_path / "ours.keras")
    assert certificate.original.startswith(f"timm {theirs}")
    assert set(certificate.endpoints) == compared
    assert max(certificate.endpoints.values()) < 1e-5
    assert certificate.logits < 1e-5
    done = export_weights(tmp_path / "ours.keras", "timm", out=tmp_path / "back.safetensors")
    back, sent = load_file(done.out), network.state_dict()
    assert set(sent) - set(back) == {key for key in sent if key.endswith("num_batches_tracked") or "Aux" in key}
    assert all(torch.equal(back[key], sent[key]) for key in back)


@on_tensorflow
@pytest.mark.slow
def test_a_file_that_the_original_refuses_is_not_compared(tmp_path, monkeypatch):
    network = keras.applications.Xception(weights=None, input_shape=(299, 299, 3), classes=2)
    path = write_legacy(network, tmp_path / "some.h5")
    monkeypatch.setattr("ception.conversion.originals._own_reader", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    certificate = convert(path, "xception", out=tmp_path / "ours.keras")
    assert certificate.note.startswith("the reader of keras.applications refuses the file (no)")
    assert (certificate.original, certificate.endpoints, certificate.logits) == (None, {}, None)


@on_tensorflow
class TestCommands:
    @pytest.mark.slow
    def test_convert(self, run_cli, legacy, tmp_path):
        out = tmp_path / "ours.keras"
        code, said, _ = run_cli("convert", legacy, "--model", "inception_v3", "--out", out)
        assert code == 0
        assert "378 tensors of" in said
        assert "filled by its own reader, on two photographs" in said
        assert said.splitlines()[-1] == f"Next: ception predict {out} PICTURES"
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "p.png")
        code, said, _ = run_cli("predict", "inception_v3", "--weights", legacy, tmp_path / "p.png")
        assert code == 0
        with_file = run_cli("predict", out, tmp_path / "p.png")[1]
        assert with_file.splitlines()[0] == said.splitlines()[0]

    def test_convert_never_writes_over_its_source(self, run_cli, tmp_path):
        source = tmp_path / "xception.keras"
        source.write_bytes(b"x")
        code, _, err = run_cli("convert", source, "--model", "xception", "--out", source)
        assert code == 2
        assert "is the source itself: name another file with --out" in err
        assert source.read_bytes() == b"x"

    def test_options_of_the_other_direction_are_refused(self, run_cli, tmp_path):
        code, _, err = run_cli("convert", tmp_path / "m.keras", "--to", "timm", "--partial")
        assert (code, err) == (2, "ception: --partial belongs to --model: what --to writes is always whole\n")
        code, _, err = run_cli("convert", tmp_path / "m.keras", "--to", "timm", "--out", tmp_path / "back.pth")
        assert code == 2
        assert "weights for timm must be named .safetensors" in err

    def test_convert_needs_one_direction(self, run_cli, legacy):
        code, _, err = run_cli("convert", legacy)
        assert (code, err) == (2, "ception: convert needs either --model NAME or --to keras-applications|timm\n")

    @pytest.mark.slow
    def test_real_partial_weights(self, run_cli, shared, tmp_path):
        source, out = shared / "weights" / "inception_v3_to_mixed8.h5", tmp_path / "half.keras"
        code, _, err = run_cli("convert", source, "--model", "inception_v3", "--out", out)
        assert code == 2
        assert "accept that with --partial" in err
        code, said, _ = run_cli("convert", source, "--model", "inception_v3", "--partial", "--out", out)
        assert code == 0
        assert "304 tensors" in said
        assert "74 missing" in said
        certificate = json.loads(out.with_suffix(".certificate.json").read_text())
        assert list(certificate["endpoints"]) == [f"mixed{number}" for number in range(9)]
        assert max(certificate["endpoints"].values()) < 1e-5
        assert certificate["filled_by"] == "the numbers that Keras gives its layers"
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "p.png")
        code, _, err = run_cli("predict", out, tmp_path / "p.png")
        assert code == 2
        assert "74 tensors of inception_v3 have no weights" in err
        code, _, err = run_cli("convert", out, "--to", "keras-applications")
        assert code == 2
        assert "74 tensors of inception_v3 have no weights" in err

    def test_models_lists_weights(self, run_cli):
        code, out, _ = run_cli("models", "--weights")
        assert code == 0
        assert "xception65.ra3_in1k" in out
        assert "83.2%" in out
        assert json.loads(run_cli("models", "--weights", "--json")[1])["xception.keras_in1k"]["head"] is True


def test_a_centre_crop_keeps_its_share_of_the_shorter_side():
    wide = np.zeros((100, 200, 3), np.uint8)
    wide[:, 50:150] = 100
    wide[10:90, 60:140] = 200
    contract = ImageContract(height=80, width=80, channels=3, resize="crop", crop=0.8)
    assert (to_pixels(Image.fromarray(wide), contract) == 200).all()
    whole = ImageContract(height=100, width=100, channels=3, resize="crop")
    assert (to_pixels(Image.fromarray(wide), whole)[:10] == 100).all()
