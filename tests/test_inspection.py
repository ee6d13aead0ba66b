"""What layers cost, the modules of the walk, and the two commands that show them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import ception
from ception import MODELS
from ception.errors import InputError
from ception.inspection.layers import costs, training_memory
from ception.models.networks import modules
from ception.results import LayerCost
from support.networks import common
from support.parity import difference, fill, logits


def test_published_multiply_accumulates_at_another_size():
    cost = ception.summary("xception", image_size=150)
    assert cost.macs - 2048 * 1000 == 1_924_397_456  # without the head
    assert cost.parameters - 2049 * 1000 == 20_861_480


def test_published_shares_of_xceptions_kinds_of_convolution():
    """Pointwise 90.6 %, stem 5.0 %, shortcuts 2.8 %, depthwise 1.6 %."""
    network = common("xception")
    total = MODELS["xception"].macs
    depthwise = sum(
        int(np.prod(layer.output.shape[1:3]) * np.prod(layer.depthwise_kernel.shape))
        for layer in network.layers
        if isinstance(layer, keras.layers.SeparableConv2D)
    )
    by_name = {layer.name: layer.macs for layer in costs(network)}
    stem = sum(count for name, count in by_name.items() if name.startswith("block1_"))
    shortcuts = sum(count for name, count in by_name.items() if "shortcut" in name)
    pointwise = total - depthwise - stem - shortcuts - by_name["logits"]
    assert [round(100 * part / total, 1) for part in (pointwise, stem, shortcuts, depthwise)] == [90.6, 5.0, 2.8, 1.6]


class TestSummary:
    def test_layers_add_up(self):
        cost = ception.summary("inception_v3", image_size=150)
        for column in ("parameters", "macs", "activation_bytes"):
            assert sum(getattr(layer, column) for layer in cost.layers) == getattr(cost, column)
        first = next(layer for layer in cost.layers if layer.name == "conv1a_conv")
        assert first == LayerCost(
            name="conv1a_conv", kind="Conv2D", output_shape=(74, 74, 32), parameters=864, macs=74 * 74 * 864,
            activation_bytes=74 * 74 * 32 * 4,
        )  # fmt: skip

    def test_plain_values(self):
        plain = ception.summary("separable_cnn", batch_size=4).as_dict()
        assert list(plain) == [
            "model", "input_shape", "layers", "parameters", "trainable", "macs", "activation_bytes", "training",
        ]  # fmt: skip
        assert plain["input_shape"] == [28, 28, 1]
        assert plain["layers"][0] == {"name": "input_image", "kind": "InputLayer", "output_shape": [28, 28, 1],
                                      "parameters": 0, "macs": 0, "activation_bytes": 28 * 28 * 4}  # fmt: skip
        assert list(plain["training"]) == ["batch_size", "precision", "memory_bytes"]
        assert (plain["training"]["batch_size"], plain["training"]["precision"]) == (4, "float32")

    def test_shows_itself_in_three_lines(self):
        lines = repr(ception.summary("xception")).splitlines()
        assert lines[0] == "NetworkSummary(xception at 299 x 299 x 3, 136 layers,"
        assert lines[1] == "    22,910,480 parameters, 22,855,952 of them trained,"
        assert lines[2].startswith(f"    {MODELS['xception'].macs:,} multiply-accumulates")

    def test_shows_itself_as_a_table(self):
        table = ception.summary("xception", batch_size=4)._repr_html_()
        assert "<caption>xception at 299 x 299 x 3</caption>" in table
        for cell in ("136", "22,910,480", "22,855,952 of them trained", "with batches of 4 in float32"):
            assert f"<td>{cell}</td>" in table

    def test_its_options_are_those_of_its_signature(self):
        with pytest.raises(InputError, match=r"known: image_size, every, batch_size, dtype"):
            ception.summary("xception", zzz=1)

    def test_takes_model_files_at_other_sizes(self, trained):
        own = ception.summary(trained / "model.keras")
        assert own.input_shape == (16, 16, 3)
        assert ception.summary(trained / "model.keras", image_size=32).input_shape == (32, 32, 3)

    def test_takes_run_folders(self, trained):
        assert ception.summary(trained) == ception.summary(trained / "model.keras")

    def test_refuses_what_it_cannot_tell(self, trained):
        with pytest.raises(InputError, match="batch_size must be a whole number of at least 1, got -3"):
            ception.summary("separable_cnn", batch_size=-3)
        with pytest.raises(InputError, match="columns can be changed in a network by name"):
            ception.summary(trained, every={"inner": "elu"})

    def test_half_precision_halves_activations(self):
        full, half = (
            ception.summary("xception", image_size=71, dtype=dtype) for dtype in ("float32", "mixed_bfloat16")
        )
        assert 0.5 < half.activation_bytes / full.activation_bytes < 0.52  # input and logits stay as they are
        assert half.training.dtype == "mixed_bfloat16"

    def test_unknown_names_are_told(self):
        with pytest.raises(InputError, match="neither a model file nor a network: did you mean 'xception'"):
            ception.summary("xceptoin")


class TestTrainingMemory:
    def test_grows_with_the_batch_by_what_is_kept(self):
        """A convolution keeps its input, batch normalisation and the activation one tensor each."""
        image = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, padding="same")(image)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
        kept = 4 * 64 * (3 + 4 + 4)
        assert training_memory(network, 10) - training_memory(network, 0) == int(1.2 * 10 * kept)

    @pytest.mark.slow
    @pytest.mark.skipif(keras.backend.backend() != "tensorflow" or sys.platform != "linux", reason="measured elsewhere")
    def test_is_near_the_measured_peak(self):
        script = Path(__file__).parents[1] / "benchmarks" / "memory.py"
        command = [sys.executable, str(script), "--dry", "--cases", "inception_v1:96:64:float32"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=script.parent).stdout
        ratio = float(said.split("'estimate_over_measured': ")[1].split("}")[0])
        assert 0.7 < ratio < 1.3  # 15 % in the benchmark; allocators differ


class TestModules:
    @pytest.mark.parametrize("name", modules.MODULES)
    def test_builds_and_computes(self, name):
        module = modules.build(name, image_size=(6, 5), channels=16, filters=32)
        assert module.layers[-1].name == "module"
        assert module.layers[-1].output.shape == (None, 6, 5, 44 if name == "naive_inception" else 32)
        one, other = keras.ops.convert_to_numpy(module(np.random.default_rng(0).normal(size=(2, 6, 5, 16))))
        assert np.isfinite(one).all()
        assert difference(one, other) > 0.1

    def test_has_a_precision(self):
        module = modules.build("separable_convolution", dtype="mixed_bfloat16")
        assert module.get_layer("module_conv1").compute_dtype == "bfloat16"

    def test_worked_example(self):
        counts = {
            name: modules.build(name, channels=3, filters=64).count_params()
            for name in ("plain_convolution", "separable_convolution")
        }
        assert counts == {"plain_convolution": 1728, "separable_convolution": 219}

    def test_a_shared_1x1_with_segments_computes_what_the_towers_compute(self):
        towers = modules.build("simplified_inception", image_size=6, channels=8, filters=16)
        shared = modules.build("segmented_inception", image_size=6, channels=8, filters=16)
        fill(towers, seed=0)
        for number in (1, 2):
            kernels = [towers.get_layer(f"module_branch{tower}_conv{number}").get_weights()[0] for tower in range(4)]
            shared.get_layer(f"module_conv{number}").set_weights([np.concatenate(kernels, -1)])
        maps = np.random.default_rng(0).normal(size=(2, 6, 6, 8)).astype("float32")
        assert towers.count_params() == shared.count_params()
        assert difference(logits(shared, maps), logits(towers, maps)) < 1e-6

    @pytest.mark.parametrize(
        ("name", "options", "says"),
        [
            ("extrem_inception", {}, "did you mean 'extreme_inception'"),
            ("segmented_inception", {"segments": 3}, "segments must divide the filters, got 3 and 256"),
            ("naive_inception", {"filters": 24}, "multiple of 16"),
            ("extreme_inception", {"image_size": (0, 5)}, "image_size must be a whole number of at least 1, got 0"),
        ],
    )
    def test_refuses_what_it_cannot_be(self, name, options, says):
        with pytest.raises(InputError, match=says):
            modules.build(name, **options)

    @pytest.mark.slow
    def test_example_prints_the_walk(self):
        script = Path(__file__).parents[1] / "examples" / "from_inception_to_xception.py"
        said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
        assert "plain 3*3*3*64 = 1,728 weights, separable 3*3*3 + 3*64 = 219" in said
        for name in modules.MODULES:
            assert name in said


class TestCommands:
    def test_models_lists_every_network(self, run_cli):
        code, out, _ = run_cli("models")
        assert code == 0
        for name, entry in MODELS.items():
            line = next(line for line in out.splitlines() if line.split() and line.split()[0] == name)
            assert f"{entry.parameters:,}" in line
            assert f"{entry.macs / (1e9 if entry.macs > 1e9 else 1e6):.1f} {'G' if entry.macs > 1e9 else 'M'} " in line
        listed = json.loads(run_cli("models", "--json")[1])
        assert (listed["xception"]["parameters"], listed["xception"]["macs"]) == (22_910_480, 8_357_403_496)
        assert listed["xception_65"]["accuracy"] == 0.7956

    def test_models_marks_the_networks_that_are_taken_by_default(self, run_cli):
        head, *rows = run_cli("models")[1].splitlines()[: 1 + len(MODELS)]
        place = head.index("default for")
        marked = {row.split()[0]: row[place:].strip() for row in rows if row[place:].strip()}
        assert marked == {"xception": "photos", "separable_cnn": "small or grey pictures"}
        assert json.loads(run_cli("models", "--json")[1])["xception"]["default_for"] == "photos"

    def test_accuracies_on_different_data_are_in_different_columns(self, run_cli):
        head, *rows = run_cli("models")[1].splitlines()[: 1 + len(MODELS)]
        imagenet, other = (head.index(f"{name} top-1") for name in ("ImageNet", "Fashion-MNIST"))
        cells = {row.split()[0]: (row[imagenet:other].split()[0], row[other:].split()[0]) for row in rows}
        assert cells["xception"] == ("79.0%", "-")
        assert cells["separable_cnn"] == ("-", "84.4%")
        assert cells["xception_light_norm"] == ("-", "-")

    def test_summary_shows_layers_and_totals(self, run_cli):
        code, out, _ = run_cli("summary", "xception", "--image-size", "150")
        assert code == 0
        assert "Parameters 22,910,480: 22,855,952 trained, 54,528 statistics of batch norm" in out
        assert "block13_sepconv2_bn" in out
        assert out.splitlines()[-1] == "Next: ception summary xception --graph xception.svg"

    def test_summary_draws(self, run_cli, tmp_path):
        code, out, _ = run_cli("summary", "separable_cnn", "--graph", tmp_path / "g.svg", "--expand")
        assert code == 0
        assert "Parameters 184,234" in out
        assert (tmp_path / "g.svg").read_text().startswith("<?xml")
        code, _, err = run_cli("summary", "separable_cnn", "--expand")
        assert (code, err) == (2, "ception: --expand needs --graph FILE.svg or FILE.png\n")

    def test_summary_as_json(self, run_cli):
        code, out, _ = run_cli("summary", "separable_cnn", "--json", "--batch-size", "4")
        assert code == 0
        assert json.loads(out) == ception.summary("separable_cnn", batch_size=4).as_dict()
