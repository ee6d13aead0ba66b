"""Measures one case, in a process of its own: python -m ception.benchmarking.measuring_process SECONDS < case.

After each batch size a line of JSON on standard output tells all so far: time and peak memory of a step for each, the
network's multiply-accumulates, and GFLOP/s of a matrix product.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ception import backends, measuring
from ception.benchmarking.cases import Case
from ception.errors import InputError, RunError
from ception.layers import quicker
from ception.models.config import NetworkConfig
from ception.reporting import Reporter

if TYPE_CHECKING:
    import keras

_SIDE = 2048  # of the matrices whose product is timed
_PRODUCTS = 4
_MEASURING_SHARE = 0.4  # of the time that is meant for the process: imports, building and the first step take the rest
_LONGEST_S = 10.0  # that a batch size is measured


def main() -> None:
    """Measure the case on standard input."""
    seconds = float(sys.argv[1])
    case = Case.of(sys.stdin.read())
    try:
        backends.start(case.backend)
        for told in measured(case, seconds):
            sys.stdout.write(f"{json.dumps(told)}\n")
            sys.stdout.flush()
    except (InputError, RunError) as error:
        sys.exit(str(error))


def measured(case: Case, seconds: float) -> Iterator[Mapping[str, Any]]:
    """What `main` prints.

    Args:
        case: What to measure.
        seconds: Time that is meant for it.
    """
    import numpy as np

    from ception.inspection.layers import costs
    from ception.models.building import build_network

    config = NetworkConfig.of(**case.config)
    policy = "mixed_bfloat16" if case.dtype == "bfloat16" and case.runner == case.backend else "float32"
    network = build_network(config, dtype=policy, seed=0, layers=classes(case.layers))
    random = np.random.default_rng(0)
    step_of = _training_step if case.task == "training" else _inference_step
    ceilings, steps = _ceilings(case), []
    step, remember = step_of(case, config, network)
    macs, enough_s = sum(one.macs for one in costs(network)), _MEASURING_SHARE * seconds / len(case.batch_sizes)
    for batch_size in case.batch_sizes:
        batch = random.integers(0, 256, (batch_size, *config.image_size, config.channels), np.uint8)
        took = measuring.timed(lambda: step(batch), enough_s=min(enough_s, _LONGEST_S))  # noqa: B023
        if case.remember:
            remember(batch_size, took)
        steps.append({"batch_size": batch_size, "seconds": took, "peak_bytes": _peak_bytes()})
        yield {"ceilings": ceilings, "steps": steps, "macs": macs}


def classes(layers: str) -> Mapping[str, type[keras.layers.Layer]]:
    """By kind, the classes that one of `LAYERS` makes instead of Keras's own."""
    makers: Mapping[str, Callable[[], Mapping[str, type[keras.layers.Layer]]]] = {
        "quicker": quicker, "stock": dict,
    }  # fmt: skip
    return makers[layers]()


def _training_step(
    case: Case, config: NetworkConfig, network: keras.Model
) -> tuple[Callable[[Any], Any], Callable[[int, float], None]]:
    """A step of SGD as `ception train` makes it; nothing chooses by its time, so that it is not remembered."""
    import numpy as np

    from ception.training.optimizers import compile_for, optimizer_of
    from ception.training.recipes import RECIPES
    from ception.training.trainee import Trainee

    made = Trainee(network.input, network.output, name=network.name)
    compile_for(made, RECIPES["article"], optimizer_of(RECIPES["article"], 1))

    def step(batch: Any) -> Any:
        return made.train_on_batch(batch, np.arange(len(batch), dtype=np.int32) % (config.classes or 1))

    return step, lambda batch_size, seconds: None


def _inference_step(
    case: Case, config: NetworkConfig, network: keras.Model
) -> tuple[Callable[[Any], Any], Callable[[int, float], None]]:
    """A batch in an engine, and what remembers its time where `choosing` looks for it."""
    from ception.engines import choosing
    from ception.predictor import architecture_of

    shape, wanted = (*config.image_size, config.channels), "keras" if case.runner == case.backend else case.runner
    runnable = choosing.Runnable(network.name, shape, lambda precision: network, None, architecture_of(config))
    engine = choosing.choose(runnable, precision=case.dtype, wanted=wanted, reporter=Reporter())  # type: ignore[arg-type]

    def remember(batch_size: int, seconds: float) -> None:
        measuring.remember(choosing.key_of(runnable, engine.precision, wanted, batch_size), seconds)  # type: ignore[arg-type]

    return engine.run, remember


def _ceilings(case: Case) -> dict[str, float]:
    """GFLOP/s of a matrix product in the case's numbers, by the backend and in float32 by NumPy too; its best."""
    import keras
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    in_backend = keras.ops.convert_to_tensor(matrix, case.dtype)
    products: list[Callable[[], Any]] = []
    if case.dtype == "float32":
        products.append(lambda: matrix @ matrix)
    if case.runner == case.backend:
        products.append(lambda: float(keras.ops.matmul(in_backend, in_backend)[0, 0]))  # which waits for it
    best = 0.0
    for product in products:
        product()
        for _ in range(_PRODUCTS):
            start = time.perf_counter()
            product()
            best = max(best, 2e-9 * _SIDE**3 / (time.perf_counter() - start))
    return {case.dtype: best} if products else {}


def _peak_bytes() -> int | None:
    """Most memory that this process has taken so far."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
