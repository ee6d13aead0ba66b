"""A model knows what its pictures look like, and says when others look different: in a summary, and to Prometheus."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

import ception
from ception import drift
from ception.drift import FEWEST, QUANTITIES, Looks, Watch, brightness, drifts, tell
from ception.model_file import ModelDescription, describe
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes


def looks(count: int, seed: int = 0, *, sure: float = 0.9, bright: float = 0.5, side: float = 300) -> Looks:
    random = np.random.default_rng(seed)
    around = [random.normal(middle, spread, count) for middle, spread in ((sure, 0.03), (bright, 0.1), (side, 40))]
    return Looks(*around)


def different(found) -> set[str]:
    return {one.quantity for one in found if one.different}


class TestComparison:
    def test_like_pictures_are_seldom_different(self):
        """One set in a hundred at most, within what 200 sets can show: above 6 has a probability of 0.4 %."""
        random = np.random.default_rng(1)
        called = sum(
            bool(different(drifts(looks(300, seed), looks(int(random.integers(30, 400)), 10_000 + seed))))
            for seed in range(200)
        )
        assert called <= 6

    @pytest.mark.parametrize(
        ("changed", "quantity"), [({"sure": 0.85}, "confidence"), ({"bright": 0.3}, "brightness"),
                                  ({"side": 200}, "shorter_side")],
    )  # fmt: skip
    def test_what_changed_is_found_and_nothing_else(self, changed, quantity):
        found = drifts(looks(300), looks(60, 1, **changed))
        assert different(found) == {quantity}
        (one,) = (one for one in found if one.quantity == quantity)
        assert one.count == 60
        assert one.median < one.usual
        assert one.distance > 0.4

    def test_a_wider_spread_is_found_too(self):
        usual, seen = looks(400), looks(400, 1)
        wide = replace(seen, brightness=0.5 + 3 * (seen.brightness - 0.5))
        assert different(drifts(usual, wide)) == {"brightness"}
        tell(drifts(usual, wide), notes := Notes())
        assert "brightness spread otherwise (median 0.5" in notes.warnings[0]

    def test_a_tiny_shift_of_very_many_pictures_is_no_alarm(self):
        usual = Looks.from_json(looks(20_000).as_json())
        for bright, alarm in ((0.522, False), (0.55, True)):  # 0.22 and half of the standard deviation
            found = drifts(usual, looks(100_000, 1, bright=bright))
            (one,) = (one for one in found if one.quantity == "brightness")
            assert one.p_value < drift.BY_CHANCE / 3  # both are sure
            assert different(found) == ({"brightness"} if alarm else set())

    def test_too_few_are_not_compared(self):
        assert drifts(looks(300), looks(FEWEST - 1, 1, bright=0.0)) == ()
        known = replace(looks(300), confidence=looks(FEWEST - 1).confidence)
        assert [one.quantity for one in drifts(known, looks(60, 1))] == ["brightness", "shorter_side"]

    def test_is_told_in_words(self):
        usual = looks(300)
        tell(drifts(usual, looks(60, 1)), notes := Notes())
        assert notes.lines == []
        tell(drifts(usual, looks(60, 1, bright=0.2, side=1000)), notes)
        assert re.fullmatch(
            r"60 pictures look different from what the model knows, by a distance of (?:1\.00|0\.\d\d) of 1 \(told "
            r"from 0\.1 on\): darker \(median 0\.\d\d, usually 0\.\d\d\), larger "
            r"\(median \d+ pixels, usually \d+ pixels\); unless they are of one class or place, its answers may be "
            r"worse than its scores",
            notes.warnings[0],
        )

    def test_surer_answers_alone_are_a_note(self):
        tell(drifts(looks(300), looks(60, 1, sure=0.99)), notes := Notes())
        assert notes.warnings == []
        assert notes.notes[0].endswith("as of pictures that it was trained on")


class TestKept:
    def test_many_values_are_kept_by_their_quantiles(self):
        many = looks(20_000)
        kept = Looks.from_json(json.loads(json.dumps(many.as_json())))
        for name in QUANTITIES:
            values = getattr(kept, name)
            assert len(values) == 500
            shares = np.linspace(0.01, 0.99, 50)
            expected = np.quantile(getattr(many, name), shares)
            assert np.abs(np.quantile(values, shares) - expected).max() < 0.01 * np.ptp(getattr(many, name))
        assert different(drifts(kept, many)) == set()

    @pytest.mark.parametrize(
        "told", [[], {"confidence": []}, dict.fromkeys(QUANTITIES, "x"),
                 {name: [float("nan")] for name in QUANTITIES}, {name: [[1.0]] for name in QUANTITIES},
                 {name: [0.0] * 20_000 for name in QUANTITIES}],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, told):
        with pytest.raises(ValueError, match="usual are no numbers"):
            Looks.from_json(told)

    def test_the_watch_forgets_the_oldest(self):
        watch = Watch(most=5)
        threads = [Thread(target=watch.add, args=({"confidence": 0.5, "brightness": k / 10},)) for k in range(10)]
        for thread in threads:
            thread.start()
            thread.join()
        seen = watch.looks()
        assert seen.brightness.tolist() == [0.5, 0.6, 0.7, 0.8, 0.9]
        assert len(seen.shorter_side) == 0

    def test_brightness_is_the_mean_of_each_picture(self):
        pixels = np.stack([np.full((2, 3, 3), value, np.uint8) for value in (0, 51, 255)])
        assert brightness(pixels).tolist() == [0, 0.2, 1]
        assert brightness(pixels[:0]).shape == (0,)


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    """Forty dark pictures, smaller than those of the training."""
    root = write_pictures(tmp_path_factory.mktemp("dark"), {"night": 40}, size=(12, 10))
    from PIL import Image

    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            image.point(lambda value: value // 4).save(path)
    return root


class TestModel:
    def test_a_training_keeps_what_is_usual(self, trained):
        described = describe(trained)
        usual, training = described.usual, len(described.training_digests)
        assert len(usual.brightness) == len(usual.shorter_side) == training
        assert len(usual.confidence) == 120 - training  # of those that it was not trained on
        assert set(usual.shorter_side.tolist()) == {20.0}
        middles = [sum(colour) / 3 / 255 for colour in COLOURS.values()]
        assert min(middles) - 0.05 < np.median(usual.brightness) < max(middles) + 0.05
        assert ((usual.confidence > 1 / 3) & (usual.confidence <= 1)).all()

    def test_an_earlier_file_knows_of_none(self, trained):
        told = describe(trained).as_json()
        del told["usual"]
        assert ModelDescription.from_json(told).usual is None
        broken = told | {"usual": {"confidence": "x"}}
        with pytest.raises(ValueError, match="usual are no numbers"):
            ModelDescription.from_json(broken)

    def test_an_export_keeps_it(self, trained, tmp_path):
        pytest.importorskip("onnx", reason="onnx is not installed")
        ception.export(trained, "onnx", out=tmp_path / "it.onnx", pictures=2)
        exported, own = describe(tmp_path / "it.onnx").usual, describe(trained).usual
        for name in QUANTITIES:
            assert getattr(exported, name).tolist() == getattr(own, name).tolist()

    def test_predict_warns_of_others(self, trained, dark):
        ception.predict(trained, dark, reporter=(notes := Notes()))
        (said,) = notes.warnings
        assert "40 pictures look different" in said
        assert "darker" in said
        assert "smaller (median 10 pixels, usually 20 pixels)" in said

    def test_of_very_many_some_are_compared_evenly(self, trained, dark, monkeypatch):
        compared = []
        monkeypatch.setattr(drift, "MOST", 12)
        monkeypatch.setattr(drift, "drifts", lambda usual, seen: compared.append(seen) or ())
        ception.predict(trained, dark, batch_size=7)
        assert [len(getattr(compared[0], name)) for name in QUANTITIES] == [10, 10, 10]  # each fourth of 40

    def test_and_not_of_its_own_kind(self, trained, tmp_path):
        others = write_pictures(tmp_path / "others", dict.fromkeys(COLOURS, 12), seed=9)
        ception.predict(trained, others, reporter=(notes := Notes()))
        ception.predict(trained, sorted(others.rglob("*.png"))[:3], reporter=notes)
        assert notes.warnings == []

    def test_the_command_tells_it_on_standard_error(self, run_cli, trained, dark):
        code, out, err = run_cli("predict", trained, dark, "--json")
        assert code == 0
        assert len([json.loads(line) for line in out.splitlines()]) == 40
        assert "warning: 40 pictures look different" in err


class TestServer:
    @pytest.fixture
    def server(self, trained):
        pytest.importorskip("fastapi", reason="fastapi is not installed")
        from support.serving import Server

        made = Server({"colours": trained / "model.keras"})
        yield made
        made.models.close()

    def gauge(self, server, name: str, of: str) -> float:
        text = server.ask("GET", "/metrics").text
        found = re.search(rf'^ception_{name}\{{model="colours",of="{of}"\}} (\S+)$', text, re.MULTILINE)
        assert found, text
        return float(found[1])

    def send(self, server, paths) -> None:
        for path in paths:
            assert server.ask("POST", "/predict", content=path.read_bytes()).status_code == 200

    def test_tells_when_pictures_look_different(self, server, dark):
        pictures = sorted(dark.rglob("*.png"))
        self.send(server, pictures[: FEWEST - 1])
        assert np.isnan(self.gauge(server, "drift_distance", "brightness"))
        assert self.gauge(server, "drift_found", "brightness") == 0
        self.send(server, pictures[:1])
        assert self.gauge(server, "drift_pictures", "brightness") == FEWEST
        assert self.gauge(server, "drift_distance", "brightness") > 0.5
        assert self.gauge(server, "drift_p_value", "shorter_side") < 1e-6
        assert self.gauge(server, "drift_found", "shorter_side") == 1
        text = server.ask("GET", "/metrics").text
        assert f'ception_picture_shorter_side_bucket{{le="32.0",model="colours"}} {FEWEST}.0' in text
        assert f'ception_picture_confidence_count{{model="colours"}} {FEWEST}.0' in text

    def test_is_silent_of_its_own_kind(self, server, trained):
        self.send(server, sorted((trained.parents[1] / "colours").rglob("*.png"))[::3])
        assert self.gauge(server, "drift_pictures", "shorter_side") == 40
        assert self.gauge(server, "drift_found", "brightness") == 0
        assert self.gauge(server, "drift_found", "shorter_side") == 0

    def test_tensors_have_no_size(self, server):
        pixels = np.zeros((2, 16, 16, 3), np.uint8)
        told = {"inputs": [{"name": "pictures", "shape": list(pixels.shape), "datatype": "UINT8",
                            "data": pixels.reshape(-1).tolist()}]}  # fmt: skip
        assert server.ask("POST", "/v2/models/colours/infer", json=told).status_code == 200
        assert self.gauge(server, "drift_pictures", "brightness") == 2
        assert self.gauge(server, "drift_pictures", "shorter_side") == 0
