"""Which options train best: `tune` tries some, the promising ones to their end, and says how to repeat the best."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ception import backends
from ception.data import sources
from ception.errors import InputError, RunError, reason
from ception.files import mark, write_json
from ception.options import TuneOptions
from ception.recommended import settled
from ception.reporting import Reporter, counted, duration, or_default, silenced
from ception.results import TrialEntry, TuneResult
from ception.settings import TrainSettings, TuneSettings
from ception.training import preparation, train
from ception.training.recipes import FINE_TUNING, RECIPES, recipes_of
from ception.training.run_folder import plain_name
from ception.validation import saved_settings, settings_of
from ception.values import flags_of

if TYPE_CHECKING:
    import optuna

    from ception.training import Run

_RECIPES = ("article", "best")
_FACTORS = (0.2, 4.0)  # of the recipe's learning rate
_HEAD = "head"
_MIXUP = 0.2
_PLACES = 4  # endpoints, counted from the head, after which a network may be fine-tuned
_BEGINNING = 3  # trials, and epochs of each, before one is stopped for being worse than most were at that epoch
_TIE = 1e-4  # of the validation loss, which decides where as many validation pictures are right


class StoppedError(Exception):
    """A trial that is not worth its end, or that the time is too short for."""


def tune(data: str | Path, *, reporter: Reporter | None = None, **options: Unpack[TuneOptions]) -> TuneResult:
    """Try networks, recipes, learning rates and what is fine-tuned, within a time; the validation pictures decide.

    The first trial is what `train` does by itself; each later one changes what the options leave open, as a model of
    the trials so far suggests (a tree-structured Parzen estimator). One whose best epoch so far is worse than the
    median of the others at that epoch is stopped, and its folder removed. All trials share the caches of pictures and
    of what frozen parts compute. Test pictures have no say; the best run's score on them is told at the end.

    Args:
        data: A data set as `ception.data.sources.load` takes it.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `TuneSettings`; those of a training that are given are the same in every trial.

    Raises:
        InputError: the data or a setting cannot be used, nothing is left open, or Optuna is not installed.
        RunError: no trial came to its end.
    """
    reporter = or_default(reporter)
    settings = settings_of(TuneSettings, options)
    if importlib.util.find_spec("optuna") is None:
        raise InputError("tune needs Optuna: pip install 'ception[tune]'")
    fixed = TrainSettings(**_plain(settings))
    dataset = sources.load(data, cache_limit=settings.cache_limit, reporter=reporter)
    bases = [
        settled(replace(fixed, model=name or fixed.model), dataset, reporter) for name in settings.networks or ("",)
    ]
    for base in bases:
        preparation.require_sense(base)
        preparation.seen_size(base)
    if len(bases) == 1 and not _is_open(bases[0]):
        raise InputError("every option that tune tries is given: leave out --learning-rate, --recipe or --from")
    folder = _new_folder(Path(settings.runs), plain_name(dataset.name))
    search = _Search(str(data), settings, bases, folder, reporter)
    try:
        return search.made()
    except InputError:
        if not search.trials:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _is_open(base: TrainSettings) -> bool:
    """Whether a trial may change anything about a training."""
    if base.recipe is None or (base.learning_rate is None and not base.head_only):
        return True
    return not base.head_only and base.from_ is None if base.weights else base.mixup is None


def _plain(settings: TrainSettings) -> Mapping[str, Any]:
    """The options of a training by name."""
    return {one.name: getattr(settings, one.name) for one in fields(TrainSettings)}


class _Search:
    """Trials one after another until the time or their number is used up."""

    def __init__(
        self, data: str, settings: TuneSettings, bases: list[TrainSettings], folder: Path, reporter: Reporter
    ) -> None:
        self.data, self.settings, self.folder, self.reporter = data, settings, folder, reporter
        self.bases = {base.network: base for base in bases}
        self.until = time.monotonic() + 60 * settings.minutes
        self.places: dict[str, list[str]] = {}
        self.trials: list[TrialEntry] = []
        self.finished = 0
        self.best: tuple[float, Run] | None = None

    def made(self) -> TuneResult:
        """The search, carried out."""
        import optuna

        with silenced("optuna"), silenced("tensorflow"):  # which warns of many trainings in one process
            study = optuna.create_study(
                direction="maximize",
                sampler=optuna.samplers.TPESampler(seed=self.settings.seed, n_startup_trials=_BEGINNING),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_BEGINNING, n_warmup_steps=_BEGINNING),
            )
            study.enqueue_trial({}, user_attrs={"as_train": True})
            with self.reporter.task("Trying", self.settings.trials or round(60 * self.settings.minutes)) as task:
                try:
                    while self._goes_on():
                        self._try(study)
                        spent = round(self.trials[-1].seconds)  # where their number is open, time tells how far it is
                        task.advance(1 if self.settings.trials else spent, self._standing())
                except KeyboardInterrupt:
                    self.reporter.note("Stopped by Ctrl-C: this is what there is so far")
        return self._result()

    def _goes_on(self) -> bool:
        """Whether another trial is asked for, and may come to its end."""
        if self.settings.trials is not None and len(self.trials) >= self.settings.trials:
            return False
        whole = [one.seconds for one in self.trials if one.state == "finished"]
        if not whole or time.monotonic() + min(whole) < self.until:
            return True
        self.reporter.note(f"No time for another trial in the {self.settings.minutes:g} minutes: give more --minutes")
        return False

    def _try(self, study: optuna.Study) -> None:
        """One trial more."""
        import optuna

        trial = study.ask()
        as_train = trial.user_attrs.get("as_train")
        chosen = next(iter(self.bases.values())) if as_train else self._changed(trial)
        began, watching = time.monotonic(), _Watching(trial, self)
        self.reporter.note(f"Trial {trial.number + 1}: {self._named(chosen) or 'as train does it'}")
        entry = TrialEntry(number=trial.number + 1, options=self._named(chosen), state="failed")
        place = self.folder / f"trial-{entry.number}"
        try:
            run = train(self.data, reporter=watching, **_plain(replace(chosen, runs=place)))
        except StoppedError as why:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            entry = replace(entry, state="stopped", reason=str(why), val_accuracy=watching.accuracy)
            shutil.rmtree(place, ignore_errors=True)
        except RunError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            entry = replace(entry, reason=str(error))
        else:
            best = min(run.history, key=lambda row: row["val_loss"])
            study.tell(trial, _value(best))
            self.finished += 1
            if self.best is None or _value(best) > self.best[0]:
                self.best = _value(best), run
            entry = replace(
                entry, state="finished", folder=str(run.folder), val_accuracy=best["val_accuracy"],
                val_loss=best["val_loss"],
            )  # fmt: skip
        self.trials.append(replace(entry, seconds=round(time.monotonic() - began, 1)))

    def _changed(self, trial: optuna.Trial) -> TrainSettings:
        """The settings of a trial: what the user left open, changed."""
        names = list(self.bases)
        base = self.bases[trial.suggest_categorical("model", names) if len(names) > 1 else names[0]]
        chosen = base
        if base.recipe is None:
            known = [name for name in _RECIPES if name in (FINE_TUNING if base.weights else RECIPES)]
            chosen = replace(chosen, recipe=trial.suggest_categorical("recipe", known))
        if base.weights and not base.head_only and base.from_ is None:
            place = trial.suggest_categorical(f"place of {base.network}", [_HEAD, *self._places(base)])
            chosen = replace(chosen, head_only=True) if place == _HEAD else replace(chosen, from_=place)
        if base.learning_rate is None and not chosen.head_only:
            rate = recipes_of(chosen)[-1].learning_rate * trial.suggest_float("factor", *_FACTORS, log=True)
            chosen = replace(chosen, learning_rate=float(f"{rate:.2g}"))
        if base.mixup is None and not base.weights and trial.suggest_categorical("mixed", [False, True]):
            chosen = replace(chosen, mixup=_MIXUP)
        return chosen

    def _places(self, base: TrainSettings) -> list[str]:
        """The endpoints of a network after which it may be fine-tuned, the last ones before its pooling."""
        if base.network not in self.places:
            backends.start(base.backend, self.reporter)
            from ception.models.building import build_network
            from ception.models.config import NetworkConfig
            from ception.models.endpoints import endpoints
            from ception.training.phases import POOL

            network = build_network(NetworkConfig.of(base.network, classes=2, final_endpoint=base.final_endpoint))
            order = [layer.name for layer in network.layers]
            maps = [end for end in endpoints(network) if order.index(end) < order.index(POOL)]
            self.places[base.network] = maps[-_PLACES - 1 : -1]
        return self.places[base.network]

    def _named(self, chosen: TrainSettings) -> str:
        """The options of a trial that differ from those the user gave, as they are typed."""
        given = TrainSettings(**_plain(self.settings))
        changed = {one.name for one in fields(chosen) if getattr(chosen, one.name) != getattr(given, one.name)}
        return flags_of(TrainSettings(**{name: getattr(chosen, name) for name in changed})).strip()

    def _standing(self) -> str:
        whole = [one.val_accuracy for one in self.trials if one.state == "finished" and one.val_accuracy is not None]
        left = max(0.0, self.until - time.monotonic())
        return f"best {max(whole):.4f}, {duration(left)} left" if whole else f"{duration(left)} left"

    def _result(self) -> TuneResult:
        """What was tried, the best first.

        Raises:
            RunError: none came to its end.
        """
        if self.best is None:
            why = next((f": {one.reason}" for one in self.trials if one.reason), "")
            raise RunError(f"no trial came to its end{why}; give more --minutes")
        order = {"finished": 0, "stopped": 1, "failed": 2}
        entries = sorted(
            self.trials, key=lambda one: (order[one.state], -(one.val_accuracy or 0), one.val_loss or 0, one.number)
        )
        best = self.best[1]
        told = replace(saved_settings(TrainSettings, best.classifier.record["settings"]), runs=self.settings.runs)
        result = TuneResult(
            data=self.data, trials=tuple(entries), best=str(best.folder), accuracy=best.scores.accuracy,
            accuracy_interval=best.scores.accuracy_interval,
            command=f"ception train {shlex.quote(self.data)}{flags_of(told)}",
        )  # fmt: skip
        write_json(self.folder / "tuning.json", result.as_dict())
        self.reporter.note(f"{counted(len(entries), 'trial')}, {self.finished} to the end")
        return result


class _Watching(Reporter):
    """Listens to a training, and stops it where it is not worth its end."""

    def __init__(self, trial: optuna.Trial, search: _Search) -> None:
        self.trial, self.search = trial, search
        self.best: Mapping[str, float] | None = None

    @property
    def accuracy(self) -> float | None:
        """Of the best epoch so far."""
        return None if self.best is None else self.best["val_accuracy"]

    def warn(self, text: str) -> None:
        if not self.trial.number:  # the same in every trial
            self.search.reporter.warn(text)

    def epoch(self, row: Mapping[str, float]) -> None:
        if self.best is None or row["val_loss"] < self.best["val_loss"]:
            self.best = row
        self.trial.report(_value(self.best), int(row["epoch"]))
        if time.monotonic() > self.search.until and self.search.finished:
            raise StoppedError("the time is used up")
        if self.trial.should_prune():
            raise StoppedError(f"after epoch {int(row['epoch'])} worse than most")


def _value(row: Mapping[str, float]) -> float:
    """What is looked for: right validation pictures, then a low validation loss."""
    return row["val_accuracy"] - _TIE * row["val_loss"]


def _new_folder(runs: Path, name: str) -> Path:
    """A folder of the search's own in `runs`, marked as one with results.

    Raises:
        RunError: it cannot be made.
    """
    number = 1
    while (folder := runs / f"tuning-{name}-{number}").exists():
        number += 1
    try:
        mark(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {reason(error)}") from None
    return folder
