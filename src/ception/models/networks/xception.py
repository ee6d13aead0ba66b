"""The six Xceptions, their ablations and the spectrum from Inception: one definition for all tables."""

from __future__ import annotations

import keras

from ception.models.blocks import (
    Layers,
    Step,
    activation,
    block,
    conv,
    conv_bn,
    head,
    max_pool,
    norm,
    separable_conv,
    series,
)
from ception.models.tables.xception import Row, Spec


def xception(
    image: keras.KerasTensor, spec: Spec, *, classes: int, dropout: float, layers: Layers
) -> keras.KerasTensor:
    """An Xception from a scaled image to logits.

    Args:
        image: (batch, height, width, channels), -1..1.
        spec: The table.
        classes: Number of classes.
        dropout: Share of the pooled features that dropout hides in training.
        layers: How layers are made; the logits are float32 always.

    Returns:
        Logits (batch, classes), float32.

    Source: Chollet, arXiv:1610.02357, figure 5, and `keras.applications.Xception`; the aligned networks: Chen et al.,
        arXiv:1802.02611, section 3.2, and timm's `xception_aligned.py`. The tests compare the logits of each.
    """
    stem = [
        *conv_bn("conv1", spec.stem[0], 3, strides=2, padding=spec.padding, epsilon=spec.epsilon),
        *conv_bn("conv2", spec.stem[1], 3, padding=spec.padding, epsilon=spec.epsilon),
    ]
    x = shortcut = block(image, stem, name="block1", layers=layers)  # 147 x 147 x 64
    for number, row in enumerate(spec.rows, 2):
        name = f"block{number}"
        steps = _steps(row, spec)
        if row.shortcut is None:
            x = block(x, steps, name=name, layers=layers)
            continue
        if row.shortcut != "chained":
            shortcut = x
        if row.shortcut != "identity":
            projection = [
                *conv("shortcut", row.filters[-1], 1, strides=2 if row.reduce else 1, bias=row.shortcut_bias),
                norm("shortcut_bn", epsilon=spec.epsilon),
            ]
            shortcut = series(shortcut, projection, name=name, layers=layers)
        x = layers.make("Add", name=name)([shortcut, series(x, steps, name=name, layers=layers)])
    return head(x, classes=classes, dropout=dropout, layers=layers)


def _steps(row: Row, spec: Spec) -> list[Step]:
    steps: list[Step] = []
    norms = row.norm if isinstance(row.norm, tuple) else (row.norm,) * len(row.filters)
    for number, (filters, normed) in enumerate(zip(row.filters, norms, strict=True), 1):
        name = f"sepconv{number}"
        strided = row.reduce == "stride" and number == len(row.filters)
        if number > 1 or row.first_activation:
            steps.append(activation(f"{name}_act"))
        steps += separable_conv(
            name, filters, strides=2 if strided else 1, padding=spec.padding if strided else "same",
            segments=row.segments, inner_norm=row.inner_norm, inner=row.inner,
        )  # fmt: skip
        if normed:
            steps.append(norm(f"{name}_bn", epsilon=spec.epsilon))
    if row.last_activation:
        steps.append(activation("act"))
    if row.reduce == "pool":
        steps += max_pool("pool", spec.pool_padding)
    return steps
