"""Weights rounded to int8 one after another, those that are left making up for what the rounded ones lost.

Each to its nearest step loses more than all activations do. So the pictures decide: of the weights of a filter, each is
rounded, and what that changes in the results for real pictures is spread over the ones still to come.

Source: GPTQ, https://arxiv.org/abs/2210.17323, algorithm 1, with its order by activations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ception.artefacts import SUFFIXES, FormatName
from ception.exporting import intermediate, quantising, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ception.engines.operations import Operation, Operations

FORMATS: tuple[FormatName, ...] = ("onnx", "litert")  # OpenVINO's files are not nearer for it
_PICTURES = 64
_POSITIONS = 128  # of each picture
_LARGEST = 127  # steps to the largest weight of a filter, in every format
_DAMPING = 0.01  # of the mean square, so that no direction is without one
_BLOCK = 64  # weights that are rounded before all behind them are changed


def compensated(network: Operations, to: FormatName, samples: NDArray[np.uint8]) -> Operations:
    """The network with the weights that int8 keeps exactly: of all layers but those of `quantising.spared`.

    Depthwise and grouped convolutions are left to what writes the format, and so is a layer that takes what a runtime
    does not compute by itself.

    Args:
        network: The operations.
        to: The format, whose runtime gives what each layer takes.
        samples: Pictures as the network takes them.
    """
    spared = quantising.spared(network, to)
    layers = [
        step
        for step in network.steps
        if step.kind in quantising.WEIGHED and step.options.get("groups", 1) == 1 and step.name not in spared
    ]
    chosen = samples[np.linspace(0, len(samples) - 1, min(_PICTURES, len(samples))).astype(int)]
    products = _products(network, to, layers, chosen)
    changed = {}
    for step in layers:
        if step.name in products:
            kernel = step.arrays["kernel"]
            values = rounded(kernel.reshape(-1, kernel.shape[-1]), products.pop(step.name)).reshape(kernel.shape)
            changed[step.name] = replace(step, arrays={**step.arrays, "kernel": values})
    return replace(network, steps=tuple(changed.get(step.name, step) for step in network.steps))


def with_exact(network: Operations, exact: Operations, kept: Collection[str]) -> Operations:
    """A network with some steps of another one of the same steps."""
    pairs = zip(network.steps, exact.steps, strict=True)
    return replace(network, steps=tuple(other if one.name in kept else one for one, other in pairs))


def rounded(weights: NDArray[np.float32], products: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights as multiples of 1/127 of the largest of their filter, which stays as it is.

    Args:
        weights: Of shape (inputs, filters).
        products: The sums of products of each two inputs over what the layer takes, (inputs, inputs).
    """
    left, count = weights.astype(np.float64), len(weights)
    steps = np.abs(left).max(0) / _LARGEST
    steps[steps == 0] = 1
    order = np.argsort(-np.diag(products), kind="stable")
    left, products = left[order], products[np.ix_(order, order)].astype(np.float64)
    square = np.diag(products).mean()
    products[np.diag_indices(count)] += _DAMPING * square if square else 1
    spread = np.linalg.cholesky(np.linalg.inv(products)).T
    largest = np.abs(weights[order]).argmax(0)
    kept = np.empty_like(left)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        lost = np.empty((end - start, left.shape[1]))
        for at in range(start, end):
            whole = np.clip(np.round(left[at] / steps), -_LARGEST, _LARGEST)
            kept[at] = np.where(largest == at, weights[order[at]], whole * steps)  # else the steps would change
            lost[at - start] = (left[at] - kept[at]) / spread[at, at]
            left[at + 1 : end] -= spread[at, at + 1 : end, None] * lost[at - start]
        left[end:] -= spread[start:end, end:].T @ lost
    result = np.empty_like(kept)
    result[order] = kept
    return result.astype(np.float32)


def _products(
    network: Operations, to: FormatName, layers: Sequence[Operation], samples: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """The sums of products of what layers take, by their names, as far as the runtime shows it."""
    random = np.random.default_rng(0)
    found: dict[str, NDArray[np.float64]] = {}
    names = [step.name for step in network.steps]
    with tempfile.TemporaryDirectory(prefix="ception-") as folder:
        plain = Path(folder) / f"plain{SUFFIXES[to]}"
        writing.write(network, to, plain, "float32", None)
        run = intermediate.results(plain, sorted({step.inputs[0] for step in layers}), names)
        for picture in samples:
            made = run(picture[None])
            for step in layers:
                if step.inputs[0] in made:
                    taken = _taken(step, made[step.inputs[0]][0], random)
                    assert taken.shape[1] == step.arrays["kernel"][..., 0].size, step.name
                    if step.name not in found:
                        found[step.name] = np.zeros((taken.shape[1],) * 2)
                    found[step.name] += taken.T @ taken  # in place, for there are many and large ones
    return found


def _taken(step: Operation, values: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """What a layer multiplies its weights with, (positions, inputs), at some positions of one picture."""
    if step.kind == "dense":
        return values.reshape(-1, values.shape[-1])
    sides, strides, dilations = step.arrays["kernel"].shape[:2], step.options["strides"], step.options["dilations"]
    spans = [(side - 1) * dilation + 1 for side, dilation in zip(sides, dilations, strict=True)]
    if step.options["padding"] == "same":
        around = []
        for size, span, stride in zip(values.shape, spans, strides, strict=False):
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            around.append((total // 2, total - total // 2))
        values = np.pad(values, (*around, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(values, spans, (0, 1))  # (rows, columns, channels, *spans)
    windows = windows[:: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
    rows, columns = windows.shape[:2]
    at = random.permutation(rows * columns)[:_POSITIONS]
    taken: NDArray[np.float32] = windows[at // columns, at % columns].transpose(0, 2, 3, 1).reshape(len(at), -1)
    return taken
