"""The search for the learning rate: which rates are tried, what follows from them, and what it leaves as it was."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

import ception
from ception.errors import RunError
from ception.evaluation import plots
from ception.training.optimizers import schedule_of, smoothed_entropy
from ception.training.recipes import FINE_TUNING, RECIPES
from ception.training.trials import Scale, Trial, best_rate, bracketed
from support.pictures import COLOURS, write_pictures
from support.reporters import Notes
from support.runs import assert_same_run

SMALL = {"epochs": 2, "batch_size": 8, "image_size": 8}
BATCHES = np.linspace(-0.2, 0.2, 8)  # by which judging batches differ, the same with each rate
LEVEL = 2 + BATCHES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("rates") / "colours", dict.fromkeys(COLOURS, 30))


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    picture = tmp_path_factory.mktemp("found") / "f.png"
    notes = Notes()
    return ception.find_learning_rate(folder, picture=picture, reporter=notes, **SMALL), notes


def bowl(lowest: float, *, depth: float = 1.0, width: float = 3.0):
    """Trials whose loss is a parabola over the logarithm of the rate, never above the level, nor a number far above."""

    def run(rate: float) -> Trial:
        asked.append(rate)
        away = (math.log(rate / lowest) / math.log(width)) ** 2
        if rate > 200 * lowest:
            return Trial(rate, np.full(8, np.inf))
        if rate > 9 * lowest and 0.2 * away > depth:
            return Trial(rate, LEVEL[::-1])  # collapsed
        return Trial(rate, np.minimum(2 - depth + 0.2 * away, 2) + BATCHES)

    asked: list[float] = []
    return run, asked


class TestTrials:
    @pytest.mark.parametrize("first", [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    def test_the_best_is_found_from_anywhere(self, first):
        run, asked = bowl(0.01)
        tried = bracketed(run, first, LEVEL)
        assert [trial.rate for trial in tried] == sorted(asked)
        best = int(np.argmin([trial.loss for trial in tried]))
        assert 0 < best < len(tried) - 1
        assert best_rate(tried, LEVEL) == pytest.approx(0.01, rel=0.06)  # in two digits
        assert len(asked) <= 9

    def test_a_rate_that_breaks_down_ends_the_search_upwards(self):
        run, asked = bowl(0.01)
        bracketed(run, 3.0, LEVEL)
        assert max(asked) == 3.0

    def test_a_rate_that_changes_nothing_ends_it_downwards(self):
        run, asked = bowl(10.0)
        bracketed(run, 0.1, LEVEL)
        assert min(asked) == 0.1

    def test_noise_between_rates_does_not_end_it(self):
        noise = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.25, -0.2])

        def run(rate: float) -> Trial:
            losses = {1.0: 1.5, 3.0: 1.51, 9.0: 1.2, 27.0: 1.9}.get(rate, 1.9)
            return Trial(rate, losses + (noise if rate == 3.0 else 0) + BATCHES)

        assert max(trial.rate for trial in bracketed(run, 1.0, LEVEL)) == 27.0

    def test_nothing_learnt_is_refused_with_the_share(self):
        run, asked = bowl(0.01, depth=0.04)
        with pytest.raises(RunError, match=r"fell by only 2\.0% at any rate from .* less than 5\.0% .*ception check"):
            best_rate(bracketed(run, 0.01, LEVEL), LEVEL)
        assert len(asked) < 8

    def test_the_share_is_of_what_smoothed_labels_leave(self):
        run, _ = bowl(0.01, depth=0.04)
        assert best_rate(bracketed(run, 0.01, LEVEL), LEVEL, Scale(least=1.5)) == pytest.approx(0.01, rel=0.06)

    def test_to_become_a_guess_is_no_learning(self):
        run, _ = bowl(0.01, depth=0.4)
        tried = bracketed(run, 0.01, LEVEL)
        assert best_rate(tried, LEVEL) == pytest.approx(0.01, rel=0.06)
        with pytest.raises(RunError, match=r"fell by only 0\.6% .* \(from 1\.610, that of a guess\)"):
            best_rate(tried, LEVEL, Scale(guess=1.61))
        with pytest.raises(RunError, match=r"below 1\.590, that of a guess, at no rate"):
            best_rate(tried, LEVEL, Scale(guess=1.59))
        with pytest.raises(RunError, match=r"below 1\.590, that of a guess, at no rate"):
            best_rate(tried, np.full(len(LEVEL), 1.59), Scale(guess=1.59))

    def test_a_drop_within_the_noise_is_refused(self):
        losses = LEVEL - 0.3 + np.array([1, -1, 1, -1, 1, -1, 1, -1.0])
        tried = [Trial(0.1, LEVEL), Trial(0.3, losses), Trial(0.9, LEVEL + 1)]
        with pytest.raises(RunError, match=r"fell by only 15\.0% .* less than 37\.\d% tells nothing here"):
            best_rate(tried, LEVEL)

    def test_a_loss_that_only_rises_is_refused(self):
        tried = [Trial(rate, LEVEL + rate) for rate in (0.1, 0.3, 0.9)]
        with pytest.raises(RunError, match=r"below 2\.000, that before the first step, at no rate from 0\.1 to 0\.9"):
            best_rate(tried, LEVEL)

    @pytest.mark.parametrize(("lowest", "side", "edge"), [(1e-9, "lowest", "0.0014"), (1e9, "highest", "7.3e+02")])
    def test_the_edge_of_the_search_is_no_answer(self, lowest, side, edge):
        def run(rate: float) -> Trial:
            return Trial(rate, LEVEL - 1 + 0.01 * abs(math.log(rate / lowest)))

        with pytest.raises(RunError) as refused:
            best_rate(bracketed(run, 1.0, LEVEL), LEVEL)
        assert f"with the {side} rate, {edge}: search on from there, with --learning-rate {edge}" in str(refused.value)

    def test_of_rates_that_cannot_be_told_apart_it_is_the_middle(self):
        noise = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.25, -0.25])
        losses = [LEVEL - 0.5, LEVEL - 1, LEVEL - 0.98 + noise, LEVEL - 0.99 - noise, LEVEL - 0.5]
        tried = [Trial(rate, loss) for rate, loss in zip((0.01, 0.03, 0.09, 0.27, 0.81), losses, strict=True)]
        assert best_rate(tried, LEVEL) == pytest.approx(0.09)
        tried[3] = Trial(0.27, LEVEL - 0.7)
        assert best_rate(tried, LEVEL) == pytest.approx(0.052)
        tried[2] = Trial(0.09, LEVEL - 0.87 + noise)  # 1.5 standard errors above: the best stands alone
        assert best_rate(tried, LEVEL) == pytest.approx(0.041)

    def test_a_rate_that_breaks_down_does_not_push_the_answer_away(self):
        tried = [Trial(0.1, LEVEL - 0.9), Trial(0.3, LEVEL - 1), Trial(0.9, np.full(8, np.inf))]
        assert 0.1 < best_rate(tried, LEVEL) < 0.3


class TestSchedules:
    def test_the_whole_schedule_fits_into_a_short_training(self):
        recipe = FINE_TUNING["best"][1]
        schedule = schedule_of(recipe, 40 / recipe.epochs)
        rates = np.array([float(schedule(step)) for step in range(40)])
        assert int(rates.argmax()) == 9  # 1.5 of 7 epochs of warm-up
        assert rates.max() == pytest.approx(recipe.learning_rate)
        assert rates[-1] < 0.01 * recipe.learning_rate

    def test_the_least_loss_of_smoothed_labels(self):
        one = np.array([1.0, 0, 0, 0])
        assert smoothed_entropy(RECIPES["article"], one) == 0
        assert smoothed_entropy(RECIPES["article"], np.full(4, 0.25)) == pytest.approx(math.log(4))
        labels = np.array([0.1 / 4 + 0.9, 0.1 / 4, 0.1 / 4, 0.1 / 4])
        assert smoothed_entropy(RECIPES["best"], one) == pytest.approx(-(labels * np.log(labels)).sum())


class TestFigure:
    def drawn(self, **changes):
        told = {"level": 2.0, "suggestion": 0.15, "title": "t"} | changes
        return plots.learning_rates_figure([0.03, 0.1, 0.3, 0.9], [1.9, 1.0, 2.2, math.inf], [0.1] * 4, **told).axes[0]

    def test_the_axis_does_not_exaggerate(self):
        assert self.drawn().get_ylim() == pytest.approx((0, 2.6))

    def test_rates_that_do_no_good_are_grey_and_broken_ones_at_the_edge(self):
        axes = self.drawn()
        assert [patch.get_x() for patch in axes.patches] == pytest.approx([math.sqrt(0.03), math.sqrt(0.27)])
        above = next(line for line in axes.lines if line.get_label() == "far above, or no number")
        assert list(above.get_xdata()) == [0.9]

    def test_suggested_or_not(self):
        def labels(axes):
            return [text.get_text() for text in axes.get_legend().get_texts()]

        assert "suggested: 0.15" in labels(self.drawn())
        assert not any("suggested" in label for label in labels(self.drawn(suggestion=None)))


class TestSearch:
    def test_what_is_found(self, found):
        search, _ = found
        assert repr(search) == f"Search({search.suggestion:g} for the phase 'all', drawn in {search.picture})"
        assert search.phase == "all"
        assert search.steps == 16  # as many as the training itself has
        assert search.rates == sorted(search.rates)
        best = int(np.argmin(search.losses))
        assert search.rates[best - 1] < search.suggestion < search.rates[best + 1]
        assert search.losses[best] < search.level
        assert search.drop == pytest.approx(1 - search.losses[best] / min(search.level, math.log(3)), rel=1e-3)
        assert f"from {search.level:.3f} to {search.losses[best]:.3f}" in search.why
        with Image.open(search.picture) as image:
            assert image.size == (840, 480)

    @pytest.mark.slow
    def test_a_short_training_has_a_hundred_steps(self, folder, tmp_path):
        options = SMALL | {"epochs": 30}  # of eight steps each
        assert ception.find_learning_rate(folder, picture=tmp_path / "f.png", reporter=Notes(), **options).steps == 100

    def test_the_same_again(self, found, folder, tmp_path):
        again = ception.find_learning_rate(folder, picture=tmp_path / "f.png", reporter=Notes(), **SMALL)
        assert (again.rates, again.losses, again.level) == (found[0].rates, found[0].losses, found[0].level)

    def test_each_rate_begins_with_the_same_weights(self, found, folder, tmp_path):
        options = SMALL | {"learning_rate": found[0].rates[0]}
        other = ception.find_learning_rate(folder, picture=tmp_path / "f.png", reporter=Notes(), **options)
        shared = [(a, b) for a, b in zip(found[0].rates, found[0].losses, strict=True) if a in other.rates]
        assert len(shared) > 1
        for rate, loss in shared:
            assert other.losses[other.rates.index(rate)] == loss

    @pytest.mark.slow
    def test_a_training_after_it_is_what_it_would_have_been(self, folder, tmp_path, monkeypatch):
        options = SMALL | {"epochs": 1, "dropout": 0.5, "reporter": Notes()}
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "one"))
        before = ception.train(folder, runs=tmp_path / "before", **options)
        monkeypatch.setenv("CEPTION_CACHE", str(tmp_path / "other"))
        ception.find_learning_rate(folder, picture=tmp_path / "f.png", **options)
        after = ception.train(folder, runs=tmp_path / "after", **options)
        assert_same_run(before.folder, after.folder)

    @pytest.mark.slow
    def test_trained_batch_norm_is_judged_as_it_is_used(self, folder, tmp_path):
        """Sixteen steps are the whole training here, whose moving statistics stay far behind at a high rate."""
        options = {"model": "inception_v1", "depth_multiplier": 0.25, "recipe": "article", "epochs": 2, "batch_size": 8,
                   "image_size": 32, "flip": False, "reporter": Notes()}  # fmt: skip
        search = ception.find_learning_rate(folder, picture=tmp_path / "f.png", **options)
        rate = search.rates[-1]
        run = ception.train(folder, learning_rate=rate, runs=tmp_path, **options)
        assert search.losses[-1] == pytest.approx(run.history[-1]["val_loss"], rel=0.3)

    @pytest.mark.slow
    def test_labels_that_say_nothing_are_refused_with_the_picture(self, tmp_path):
        random = np.random.default_rng(0)
        for name, count in (("train", 400), ("test", 40)):
            np.save(tmp_path / f"x_{name}.npy", random.integers(0, 256, (count, 28, 28), np.uint8))
            np.save(tmp_path / f"y_{name}.npy", random.integers(0, 5, count))
        np.savez(tmp_path / "noise.npz", **{path.stem: np.load(path) for path in tmp_path.glob("*.npy")})
        with pytest.raises(RunError, match=r"the loss .*that of a guess.*ception check.*; drawn in .*f\.png"):
            ception.find_learning_rate(tmp_path / "noise.npz", picture=tmp_path / "f.png", reporter=Notes())
        assert (tmp_path / "f.png").is_file()

    def test_command(self, folder, tmp_path, run_cli, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = ("--image-size", "8", "--batch-size", "8", "--epochs", "2", "--balance", "--no-flip")
        code, out, _ = run_cli("train", str(folder), "--find-lr", *options)
        assert code == 0
        assert "Drawn in find-lr-colours.png" in out
        command = out.splitlines()[-1]
        assert command.startswith(f"Next: ception train {folder} --epochs 2 --batch-size 8 --learning-rate ")
        assert command.endswith(" --balance --no-flip --image-size 8")
        code, out, _ = run_cli("train", str(folder), "--find-lr", "--json", *options)
        told = json.loads(out)
        assert told["picture"] == "find-lr-colours.png"
        assert told["drop"] > 0.05
        code, _, err = run_cli("train", "--resume", "x", "--find-lr")
        assert (code, "leave out --resume" in err) == (2, True)
        assert not (tmp_path / "runs").exists()

    def test_a_loss_that_is_no_number_is_null_in_json(self, found):
        changed = ception.training.learning_rate.replace(found[0], losses=[1.0, math.inf])
        assert changed.as_dict()["losses"] == [1.0, None]
