"""What a frozen part gives for pictures: computed once, kept, and computed again where it has to be."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ception import build
from ception.data import sources
from ception.data.augmentation import Augmentation
from ception.engines.choosing import fastest
from ception.errors import RunError
from ception.models import NetworkConfig
from ception.settings import TrainSettings
from ception.training import activations, examples, preparation, recipes
from ception.training.phases import Phase
from support.parity import difference
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import Killed

CONFIG = NetworkConfig.of("inception_v1", classes=3, image_size=32, depth_multiplier=0.1)


class Cached:
    """Activations of a thin Inception V1 for 42 pictures in three colours."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "cache"))
        self.colours = write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 14), seed=9)
        self.network = build("inception_v1", classes=3, image_size=32, depth_multiplier=0.1, seed=1)
        self.notes = Notes()

    def __call__(self, place: str, views: int = 2) -> activations.Activations:
        settings = TrainSettings(model="inception_v1", image_size=32)
        listed = preparation.read(sources.load(self.colours), str(self.colours), settings, self.notes)
        self.prepared = preparation.decode(listed, settings, self.notes)
        wanted = np.arange(views * len(self.prepared.splits))
        source = activations.Views(self.prepared, Augmentation(flip=0.5))
        return activations.activations(
            self.network, place, source, wanted, CONFIG, cache_limit=1.0, reporter=self.notes
        )

    def computed(self, place: str, views: int = 2) -> int:
        self.notes.lines.clear()
        self(place, views)
        told = [re.search(r" of ([\d,]+) pictures and views", line) for line in self.notes.lines]
        return sum(int(found[1]) for found in told if found)


class TestCache:
    def test_activations_are_what_the_network_computes(self, tmp_path, monkeypatch):
        cached = Cached(tmp_path, monkeypatch)
        maps, pooled = cached("mixed4e"), cached("pool")
        count = len(cached.prepared.splits)
        pixels = np.asarray(cached.prepared.pixels[np.arange(count)], np.float32)
        for found, place in ((maps, "mixed4e"), (pooled, "pool")):
            engine = fastest(activations.part(cached.network, None, place))
            direct = np.asarray(activations.part(cached.network, None, place).predict_on_batch(pixels))
            mirrored = np.asarray(activations.part(cached.network, None, place).predict_on_batch(pixels[:, :, ::-1]))
            # bfloat16 has 8 bits, and a network of random weights adds their roundings up
            most = 1e-4 if engine.precision == "float32" else 0.05
            assert difference(found[np.arange(count)], direct) < most
            assert difference(found[np.arange(count) + count], mirrored) < most
        chained = activations.activations(
            cached.network, "pool", maps, np.arange(2 * count), CONFIG, cache_limit=1.0, reporter=Notes()
        )
        assert difference(chained[np.arange(count)], pooled[np.arange(count)]) < 0.05

    def test_only_what_changed_is_computed_again(self, tmp_path, monkeypatch):
        cached = Cached(tmp_path, monkeypatch)
        assert [cached.computed("pool"), cached.computed("pool")] == [84, 0]
        assert cached.computed("pool", views=1) == 0
        (cached.colours / "red" / "000.png").write_bytes((cached.colours / "red" / "001.png").read_bytes())
        assert cached.computed("pool") == 0  # it shows what another one shows
        changed = write_pictures(tmp_path / "other", {"red": 1}, seed=99) / "red" / "000.png"
        (cached.colours / "red" / "000.png").write_bytes(changed.read_bytes())
        assert [cached.computed("pool"), cached.computed("pool")] == [2, 0]
        kernel = cached.network.get_layer("conv1a_conv").kernel
        kernel.assign(kernel * 2)
        assert [cached.computed("pool"), cached.computed("pool")] == [84, 0]

    @pytest.mark.parametrize("cut", [1, 5000])
    def test_what_is_damaged_or_cut_off_is_computed_again(self, tmp_path, monkeypatch, cut):
        cached = Cached(tmp_path, monkeypatch)
        whole = cached("pool")[np.arange(84)]
        (path,) = (tmp_path / "cache").glob("features-*.rows")
        content = bytearray(path.read_bytes())
        content[10] ^= 255
        path.write_bytes(content[:-cut])
        cached.notes.lines.clear()
        np.testing.assert_allclose(cached("pool")[np.arange(84)], whole, rtol=1e-6)
        assert any("1 of 84 rows" in line and "damaged" in line for line in cached.notes.lines)
        assert cached.computed("pool") == 0

    def test_what_was_computed_before_a_kill_is_kept(self, tmp_path, monkeypatch):
        cached = Cached(tmp_path, monkeypatch)
        real, calls = activations.Views.__getitem__, []

        def dying(views, indices):
            calls.append(len(indices))
            if len(calls) == 2:
                raise Killed
            return real(views, indices)

        with monkeypatch.context() as patched:
            patched.setattr(activations.Views, "__getitem__", dying)
            with pytest.raises(Killed):
                cached("pool")
        assert cached.computed("pool") == 84 - calls[0]

    @pytest.mark.parametrize(("fits", "parts"), [(8, [16, 8]), (0, None)])
    def test_fewer_at_a_time_where_memory_runs_out(self, tmp_path, monkeypatch, fits, parts):
        cached = Cached(tmp_path, monkeypatch)
        expected = cached("pool")[np.arange(84)]
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "other"))
        real = activations.fastest

        def small(body, **options):
            engine = real(body, **options)
            run = engine.run

            def run_few(batch):
                if len(batch) > fits:
                    raise MemoryError
                return run(batch)

            engine.run = run_few
            return engine

        monkeypatch.setattr(activations, "fastest", small)
        if parts is None:
            with pytest.raises(MemoryError):
                cached("pool")
            return
        np.testing.assert_allclose(cached("pool")[np.arange(84)], expected, atol=0.05 * np.abs(expected).max())
        told = [line for line in cached.notes.lines if "memory ran out" in line]
        assert told == [f"warning: memory ran out; Features are computed {count} at a time" for count in parts]

    @pytest.mark.parametrize(("dtype", "precision"), [("float32", "float32"), (None, None), ("bfloat16", None)])
    def test_a_training_that_shall_be_in_float32_has_them_so(self, tmp_path, monkeypatch, dtype, precision):
        cached, asked = Cached(tmp_path, monkeypatch), []
        monkeypatch.setattr(
            "ception.training.examples.activations", lambda *_, **options: asked.append(options["precision"])
        )
        cached("pool", views=1)
        settings = TrainSettings(model="inception_v1", image_size=32, dtype=dtype)
        phase = Phase(name="head", after="pool", recipe=recipes.FINE_TUNING["article"][0], batch_norm="frozen")
        plan = SimpleNamespace(
            data=cached.prepared,
            settings=settings,
            phases=[phase],
            team=None,
            description=SimpleNamespace(config=CONFIG),
        )
        examples.examples_of(plan, phase, cached.network, cached.notes)
        assert asked == [precision]

    def test_a_full_disk_is_told_beforehand(self, tmp_path, monkeypatch):
        cached = Cached(tmp_path, monkeypatch)
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(RunError, match=r"has room for .* CEPTION_CACHE"):
            cached("pool")

    def test_no_finite_numbers(self, tmp_path, monkeypatch):
        cached = Cached(tmp_path, monkeypatch)
        kernel = cached.network.get_layer("conv1a_conv").kernel
        kernel.assign(kernel * np.nan)
        with pytest.raises(RunError, match="weights are damaged"):
            cached("pool")
