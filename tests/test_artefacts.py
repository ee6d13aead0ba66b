"""What artefacts say of themselves is read without their runtimes, and whatever was done to the files, in one line."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tracemalloc
import zipfile
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ception
from ception.artefacts import FORMATS, SUFFIXES, files_of, format_of, metadata, size_of
from ception.artefacts.containers import PLACE
from ception.artefacts.opening import RUNTIMES
from ception.data.images import ImageContract, to_pixels
from ception.errors import InputError
from ception.model_file import ModelDescription, describe
from ception.models import NetworkConfig
from ception.predictor import Predictor

SAID = {"class_names": ['"a" & <b>', "c\n"], "more": list(range(50))}


def bare(to: str, path):
    """An artefact as its own library could have written it, with little in it."""
    if to == "onnx":  # ir_version 10, producer_name, a graph
        path.write_bytes(b"\x08\x0a\x12\x03abc\x3a\x04\x12\x02ab" + b"\x72\x08\x0a\x01k\x12\x03v\xc3\xa9")
    elif to == "openvino":
        path.write_bytes(b"<net><rt_info>\n\t" + PLACE + b"\n</rt_info></net>")
        path.with_suffix(".bin").write_bytes(bytes(range(100)))
    elif to == "litert":
        path.write_bytes(b"TFL3" + bytes(range(200)))
    elif to == "torch":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("it/data/weights", bytes(range(100)))
    else:
        path.mkdir()
        (path / "saved_model.pb").write_bytes(bytes(range(100)))
        (path / "variables").mkdir()
        (path / "variables" / "v").write_bytes(bytes(range(50)))
    return path


@pytest.fixture(params=FORMATS)
def artefact(request, tmp_path):
    path = bare(request.param, tmp_path / f"it{SUFFIXES[request.param]}")
    assert format_of(path) == request.param
    metadata.write(path, request.param, precision="int8", described=SAID, min_confidence=0.25)
    return path


def test_is_read_back(artefact):
    read = metadata.read(artefact)
    assert read.described == SAID
    assert (read.format, read.precision, read.min_confidence) == (format_of(artefact), "int8", 0.25)
    assert size_of(artefact) > 100


def test_what_it_says_has_to_be_a_model(artefact):
    with pytest.raises(InputError, match="is a broken model file"):
        describe(artefact)


def test_every_changed_byte_is_noticed(artefact):
    random = np.random.default_rng(0)
    for file in files_of(artefact):
        whole = file.read_bytes()
        for at in {0, 3, len(whole) - 1, *random.integers(0, len(whole), 60).tolist()}:
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(0, 8))]) + whole[at + 1 :])
            if artefact.suffix not in (".tflite", ".pt2"):
                with pytest.raises(InputError):
                    metadata.read(artefact)
                continue
            with suppress(InputError):  # or it is a byte that nobody reads, such as the time in an archive
                read = metadata.read(artefact)
                assert (read.described, read.precision, read.min_confidence) == (SAID, "int8", 0.25)
        file.write_bytes(whole)
    assert metadata.read(artefact).described == SAID


def test_what_is_cut_off_is_noticed(artefact):
    for file in files_of(artefact):
        whole = file.read_bytes()
        for length in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            with pytest.raises(InputError) as caught:
                metadata.read(artefact)
            assert "\n" not in str(caught.value)
        file.write_bytes(whole)


def test_random_files_are_refused(tmp_path):
    random = np.random.default_rng(1)
    for number in range(200):
        for to in ("onnx", "openvino", "litert", "torch"):
            path = tmp_path / f"it{SUFFIXES[to]}"
            content = random.bytes(int(random.integers(0, 300)))
            path.write_bytes((b"PK\x03\x04" if number % 2 else b"") + content)
            path.with_suffix(".bin").write_bytes(b"")
            with pytest.raises(InputError):
                metadata.read(path)


def test_a_newer_version(artefact, monkeypatch, tmp_path):
    monkeypatch.setattr(metadata, "VERSION", 7)
    newer = bare(format_of(artefact), tmp_path / f"newer{artefact.suffix}")
    metadata.write(newer, format_of(artefact), precision="float32", described={})
    monkeypatch.undo()
    with pytest.raises(InputError, match="newer version: update ception"):
        metadata.read(newer)


def test_what_others_wrote(tmp_path):
    for to in FORMATS:
        path = bare(to, tmp_path / f"it{SUFFIXES[to]}")
        with pytest.raises(InputError, match="was not written by ception export") as caught:
            metadata.read(path)
        assert str(caught.value).count(str(path)) == 1
    with pytest.raises(InputError, match="is no artefact"):
        metadata.read(tmp_path / "it.txt")


@pytest.mark.parametrize("to", FORMATS)
def test_what_cannot_be_opened(to, tmp_path):
    path = tmp_path / f"nowhere{SUFFIXES[to]}"
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        metadata.read(path)
    if to == "saved-model":
        path.write_text("a file in the place of a folder")
    else:
        path.mkdir()
    with pytest.raises(InputError, match=r"cannot be opened: (Is|Not) a directory"):
        metadata.read(path)


def test_what_an_error_quotes_is_short(tmp_path):
    path = bare("litert", tmp_path / "it.tflite")
    metadata.write(path, "litert", precision="float32", described=SAID)
    whole = path.read_bytes()
    at = whole.index(b"PK\3\4")
    path.write_bytes(whole[: at + 26] + b"\xff" + whole[at + 27 :])  # a name as long as all that follows
    with pytest.raises(InputError, match=r"is damaged: File name in directory") as caught:
        metadata.read(path)
    assert len(str(caught.value)) < len(str(path)) + 250


@pytest.mark.parametrize("to", FORMATS)
def test_weights_are_not_read_back(to, tmp_path, monkeypatch, run_cli):
    """It is told before anything is read, in the words for an export and not in those for a broken weight file."""
    monkeypatch.setattr("ception.backends.start", lambda *_: pytest.fail("Keras is loaded"))
    path = bare(to, tmp_path / f"it{SUFFIXES[to]}")
    metadata.write(path, to, precision="float32", described=described())
    for words in (
        ("export", path, "--to", "onnx"), ("export", path, "--to", "huggingface"), ("convert", path, "--to", "timm"),
        ("check", "fashion-mnist-sample", "--model", path),
    ):  # fmt: skip
        code, out, err = run_cli(*words)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == (
            f"ception: {path} is an export, which gives answers, but no weights and no gradients: name the model file "
            "that it was made from"
        )


def described(**changes):
    """What a small model says of itself, some of it changed."""
    config = NetworkConfig.of("separable_cnn", classes=2)
    image = ImageContract(height=28, width=28, channels=1)
    return ModelDescription(config=config, class_names=("a", "b"), image=image).as_json() | changes


def places(value, path=()):
    """The keys that lead to each part of plain values."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


def changed(value, path, new):
    """Plain values with another part at a path."""
    if not path:
        return new
    whole = dict(value) if isinstance(value, dict) else list(value)
    whole[path[0]] = changed(value[path[0]], path[1:], new)
    return whole


SAYINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=5,
)


@given(data=st.data(), to=st.sampled_from(FORMATS))
@settings(max_examples=150)
def test_what_it_says_may_be_anything(data, to, tmp_path_factory):
    """Also where its digest is right: who changes a text can write its digest, too."""
    whole = {"described": described(), "min_confidence": 0.5, "precision": "int8"}
    path = data.draw(st.sampled_from([path for path in places(whole) if path]))
    told = changed(whole, path, data.draw(SAYINGS))
    artefact = bare(to, tmp_path_factory.mktemp("said") / f"it{SUFFIXES[to]}")
    metadata.write(artefact, to, **told)
    refusal = ""
    try:
        assert metadata.read(artefact).precision == told["precision"]
        model = describe(artefact)
        assert to_pixels(Image.new("L", (9, 9)), model.image).shape == model.image.shape
    except InputError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert not refusal or str(artefact) in refusal


@pytest.mark.parametrize("to", FORMATS)
def test_a_runtime_that_is_missing(to, tmp_path, monkeypatch):
    artefact = bare(to, tmp_path / f"it{SUFFIXES[to]}")
    metadata.write(artefact, to, precision="float32", described=described())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    package, extra = RUNTIMES[to]
    said = f"{artefact} needs {package}: pip install 'ception[{extra}]'"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        ception.predict(artefact, np.zeros((28, 28), np.uint8))


@pytest.mark.parametrize("to", FORMATS)
def test_a_runtime_that_refuses_it(to, tmp_path):
    pytest.importorskip(RUNTIMES[to][0], reason=f"{RUNTIMES[to][0]} is not installed")
    artefact = bare(to, tmp_path / f"it{SUFFIXES[to]}")
    metadata.write(artefact, to, precision="float32", described=described())
    with pytest.raises(InputError) as caught:
        ception.predict(artefact, np.zeros((28, 28), np.uint8))
    assert "\n" not in str(caught.value)
    assert str(artefact) in str(caught.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small network as ONNX Runtime and OpenVINO take it, by format; those that are installed."""
    folder = tmp_path_factory.mktemp("exported")
    Image.new("RGB", (20, 20), "red").save(folder / "red.png")
    ception.Classifier.build("separable_cnn", ["a", "b", "c"], image_size=20).save(folder / "it.keras")
    made = {}
    for to in ("onnx", "openvino"):
        if importlib.util.find_spec(RUNTIMES[to][0]):
            made[to] = folder / f"it{SUFFIXES[to]}"
            ception.export(folder / "it.keras", to, out=made[to], data=str(folder))
    return made


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [({"class_names": ["a", "b"], "classes": 2}, "it names 2 classes, and its network answers with"),
     ({"class_names": ["a", "b", "c", "d"], "classes": 4}, "it names 4 classes, and its network answers with"),
     ({"height": 24, "image_size": [24, 20]}, "two pictures")],
)  # fmt: skip
def test_one_that_is_another_than_it_says(exported, to, changes, said):
    if to not in exported:
        pytest.skip(f"{RUNTIMES[to][0]} is not installed")
    artefact = metadata.read(exported[to])
    told = dict(artefact.described)
    told |= {key: value for key, value in changes.items() if key in told}
    for part in ("image", "network"):
        told[part] = told[part] | {key: value for key, value in changes.items() if key in told[part]}
    with pytest.raises(InputError) as caught:
        Predictor.of_artefact(replace(artefact, described=told))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_without_which_a_graph_is_nothing(exported, tmp_path):
    if "openvino" not in exported:
        pytest.skip("openvino is not installed")
    alone = shutil.copy(exported["openvino"], tmp_path)
    with pytest.raises(InputError, match=r"it\.bin cannot be opened: No such file"):
        ception.predict(alone, np.zeros((20, 20, 3), np.uint8))


def test_a_program_of_pytorch_that_unpacks_to_gigabytes(tmp_path):
    path = bare("torch", tmp_path / "it.pt2")
    metadata.write(path, "torch", precision="float32", described={})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("it/data/more", "w") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"is damaged: it/data/more in it is packed"):
        metadata.read(path)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_an_archive_that_would_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("ception.artefacts.containers.MOST_TEXT", 10)
    path = bare("torch", tmp_path / "it.pt2")
    metadata.write(path, "torch", precision="float32", described={})
    with pytest.raises(InputError, match=r"its ception.json is larger than 0.0 GB"):
        metadata.read(path)
