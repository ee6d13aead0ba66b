"""How fast a network is trained and run on this machine, by whatever is installed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ception import measuring
from ception.benchmarking.cases import Case, cases_of
from ception.benchmarking.processes import Outcome, carried_out
from ception.errors import InputError, RunError
from ception.reporting import Reporter, or_default
from ception.results import Benchmark, Measurement
from ception.settings import BenchSettings
from ception.validation import settings_of

if TYPE_CHECKING:
    from ception.options import BenchOptions

_TRAINING_PASSES = 3  # of the arithmetic: forward, and the gradients of inputs and of weights


def bench(
    model: str | Path = "xception", *, reporter: Reporter | None = None, **options: Unpack[BenchOptions]
) -> Benchmark:
    """Measure training and inference of a network on this machine, with each installed backend and engine.

    Each backend or engine runs in a process of its own, so that none disturbs another. Pictures and
    weights are random.

    Args:
        model: Name of a network, model file, or run folder.
        reporter: Receives notes, warnings and progress; None for what `ception.reporting.default` gives.
        options: Fields of `BenchSettings`, such as `time_budget=5`.

    Raises:
        InputError: there is no such network or option, or nothing that could run it is installed.
        RunError: nothing could be measured.
    """
    from ception.inspection import config_of

    reporter, settings = or_default(reporter), settings_of(BenchSettings, options)
    if settings.remember and settings.task == "training":
        raise InputError("--remember is of inference, by whose times engines are chosen: leave out --task training")
    config = config_of(model, image_size=settings.image_size)
    if config is None:
        raise InputError(f"{model} is a module, no network that could be trained: take one that ception models lists")
    cases = cases_of(config, settings)
    machine = measuring.machine()
    reporter.note(f"Measuring {config.name} on {machine}, in {settings.time_budget:g} minutes at most")
    end = time.monotonic() + 60 * settings.time_budget
    outcomes, left_out = _all(cases, end, reporter)
    done = [outcome for outcome in outcomes if outcome.macs]
    if not done:
        why = next((one.error for outcome in outcomes for one in outcome.measurements if one.error), "no time")
        raise RunError(f"nothing could be measured: {why}; give it longer with --time-budget")
    ceilings: dict[str, float] = {}
    for dtype, rate in (pair for outcome in done for pair in outcome.ceilings.items()):
        ceilings[dtype] = max(rate, ceilings.get(dtype, 0.0))
    measurements = tuple(_shared(one, done[0].macs, ceilings) for outcome in outcomes for one in outcome.measurements)
    recommended = _recommended(measurements)
    return Benchmark(
        model=config.name, input_shape=(*config.image_size, config.channels), macs=done[0].macs, machine=machine,
        ceilings={dtype: round(rate, 1) for dtype, rate in ceilings.items()}, measurements=measurements,
        left_out=left_out, recommended=recommended, remembered=settings.remember and "inference" in recommended,
    )  # fmt: skip


def _all(cases: list[Case], end: float, reporter: Reporter) -> tuple[list[Outcome], int]:
    """What was measured before `end`, on the clock of `time.monotonic`, and for how much there was no time."""
    outcomes: list[Outcome] = []
    left_out = 0
    with reporter.task("Measuring", len(cases)) as task:
        for number, case in enumerate(cases):
            left = end - time.monotonic()
            outcome = carried_out(case, left / (len(cases) - number), left) if left > 0 else None
            if outcome is None:
                left_out += len(case.batch_sizes)
            else:
                outcomes.append(outcome)
                left_out += len(case.batch_sizes) - len(outcome.measurements)
                reporter.detail(f"{case}: {outcome}")
            task.advance(1, str(case))
    return outcomes, left_out


def _shared(one: Measurement, macs: int, ceilings: dict[str, float]) -> Measurement:
    """The measurement with its share of what a matrix product reaches."""
    if one.images_per_s is None or one.dtype not in ceilings:
        return one
    passes = _TRAINING_PASSES if one.task == "training" else 1
    return replace(one, ceiling_share=round(2e-9 * macs * passes * one.images_per_s / ceilings[one.dtype], 3))


def _recommended(measurements: tuple[Measurement, ...]) -> dict[str, str]:
    """By task, the options of what makes most pictures in a second."""
    best: dict[str, Measurement] = {}
    for one in measurements:
        if one.images_per_s and one.images_per_s > (best[one.task].images_per_s or 0 if one.task in best else 0):
            best[one.task] = one
    return {task: _options(one) for task, one in best.items()}


def _options(one: Measurement) -> str:
    """What a person types to have what was measured."""
    named = "--backend" if one.runner in ("tensorflow", "jax", "torch") else "--engine"
    stock = " --stock-layers" if one.task == "training" and one.layers == "stock" else ""
    size = f" --batch-size {one.batch_size}" if one.task == "inference" else ""  # of a training it changes the result
    return f"{named} {one.runner} --dtype {one.dtype}{size}{stock}"
