"""Inception V1 and V3: one definition for both tables."""

from __future__ import annotations

import keras

from ception.models.blocks import Layers, Step, block, conv_bn, head, parallel, series, step
from ception.models.initializers import TruncatedNormal
from ception.models.tables.inception import Branch, Conv, Pool, Spec, Split


def inception(
    image: keras.KerasTensor, spec: Spec, *, classes: int, dropout: float, layers: Layers, auxiliary: bool = False
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """An Inception from a scaled image to logits.

    Args:
        image: (batch, height, width, channels), -1..1.
        spec: The table.
        classes: Number of classes.
        dropout: Share of the pooled features that dropout hides in training; 1 - Slim's `dropout_keep_prob`.
        layers: How layers are made; the logits are float32 always.
        auxiliary: Whether the auxiliary head is built too.

    Returns:
        Logits (batch, classes), float32; with the auxiliary head a list of them and its logits of the same shape.

    Source: Szegedy et al., arXiv:1409.4842 (V1) and arXiv:1512.00567 (V3), as TF-Slim's `inception_v1.py` and
        `inception_v3.py` and `keras.applications.InceptionV3` have them.
    """
    x, maps = image, {}
    for row in spec.rows:
        if isinstance(row.content, tuple):
            x = parallel(x, [_branch(branch, spec) for branch in row.content], name=row.name, layers=layers)
        else:
            x = block(x, _steps(row.content, "conv" if isinstance(row.content, Conv) else "pool", spec),
                      name=row.name, layers=layers)  # fmt: skip
        maps[row.name] = x
    logits = head(x, classes=classes, dropout=dropout, layers=layers, spatial=True)
    if not auxiliary:
        return logits
    return [logits, _auxiliary(maps[str(spec.auxiliary_at)], spec, classes=classes, layers=layers)]


def _branch(parts: Branch, spec: Spec) -> list[Step]:
    steps: list[Step] = []
    for number, part in enumerate(parts, 1):
        if isinstance(part, Split):
            steps.append(_split(f"split{number}", part, spec))
        else:
            steps += _steps(part, f"{'conv' if isinstance(part, Conv) else 'pool'}{number}", spec)
    return steps


def _split(name: str, split: Split, spec: Spec) -> Step:
    branches = [_branch(parts, spec) for parts in split.branches]
    return name, lambda x, full_name, layers: parallel(x, branches, name=full_name, layers=layers)


def _steps(part: Conv | Pool, name: str, spec: Spec) -> list[Step]:
    if isinstance(part, Conv):
        return conv_bn(name, part.filters, part.kernel, strides=part.strides, padding=part.padding, scale=spec.gamma)
    if part.kind == "max":
        return [step(name, "MaxPooling2D", part.size, strides=part.strides, padding=part.padding)]
    if not spec.count_padding:
        return [step(name, "AveragePooling2D", part.size, strides=part.strides, padding=part.padding)]
    return [
        step(f"{name}_pad", "ZeroPadding2D", part.size // 2),
        step(name, "AveragePooling2D", part.size, strides=part.strides, padding="valid"),
    ]


def _auxiliary(x: keras.KerasTensor, spec: Spec, *, classes: int, layers: Layers) -> keras.KerasTensor:
    """The auxiliary head's logits; its kernels shrink to the map where that is smaller, as in Slim.

    Where the picture is larger than the network's own and more than one place is left, their mean is classified.

    Source: TF-Slim's `inception_v3.py`, `AuxLogits`.
    """
    window = (min(5, x.shape[1]), min(5, x.shape[2]))
    pooled = step("pool", "AveragePooling2D", window, strides=3, padding="valid")  # 5 x 5 x 768
    x = series(x, [pooled, *conv_bn("conv1", spec.auxiliary_filters[0], 1, scale=spec.gamma)],
               name="auxiliary", layers=layers)  # 5 x 5 x 128  # fmt: skip
    kernel = (min(5, x.shape[1]), min(5, x.shape[2]))
    last = conv_bn("conv2", spec.auxiliary_filters[1], kernel, padding="valid", scale=spec.gamma,
                   initializer=TruncatedNormal(stddev=0.01, seed=layers.seed()))  # fmt: skip
    x = series(x, last, name="auxiliary", layers=layers)  # 1 x 1 x 768
    x = layers.make("GlobalAveragePooling2D", name="auxiliary_mean")(x)
    return layers.make(
        "Dense",
        classes,
        kernel_initializer=TruncatedNormal(stddev=0.001, seed=layers.seed()),
        name="auxiliary",
        dtype="float32",
    )(x)
