"""Inception V1 and V3 as TF-Slim has them: a list of steps is in series, a list of branches is in parallel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ception.models.tables.sizes import after, scaled

Padding = Literal["valid", "same"]


@dataclass(frozen=True)
class Conv:
    """A convolution with batch normalisation without gamma, and ReLU.

    Attributes:
        filters: Output channels.
        kernel: Side, or (height, width), of the kernel.
        strides: Step in both directions.
        padding: "same" or "valid".
    """

    filters: int
    kernel: int | tuple[int, int]
    strides: int = 1
    padding: Padding = "same"


@dataclass(frozen=True)
class Pool:
    """A max pool, or an average pool that leaves padding out of the average.

    Attributes:
        kind: "max" or "average".
        size: Side of the window.
        strides: Step in both directions.
        padding: "same" or "valid".
    """

    kind: Literal["max", "average"]
    size: int
    strides: int = 1
    padding: Padding = "same"


@dataclass(frozen=True)
class Split:
    """Branches side by side at the end of a branch, their channels concatenated."""

    branches: tuple[tuple[Conv, ...], ...]


Branch = tuple[Conv | Pool | Split, ...]


@dataclass(frozen=True)
class Row:
    """A block: a single convolution or pool, or branches in parallel.

    Attributes:
        name: Our name of it, an endpoint.
        slim: TF-Slim's name of it.
        content: What it is.
    """

    name: str
    slim: str
    content: Conv | Pool | tuple[Branch, ...]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """An Inception as a table.

    Attributes:
        rows: The blocks.
        auxiliary_at: Block that the auxiliary head stands on; None for a network without one.
        auxiliary_filters: Output channels of the auxiliary head's two convolutions.
        gamma: Whether batch normalisation has a gamma: not in TF-Slim and Keras, but in torchvision and timm.
        count_padding: Whether average pools count the zeros around the maps: not in TensorFlow, but in torchvision's
            and timm's networks, whatever the weights were trained with.
    """

    rows: tuple[Row, ...]
    auxiliary_at: str | None = None
    auxiliary_filters: tuple[int, int] = (128, 768)
    gamma: bool = False
    count_padding: bool = False

    def sizes(self, side: int) -> list[tuple[str, int]]:
        """The side of the feature maps after each block, in pixels, of pictures with that side; below 1 where none is.

        A picture's height and width do not depend on each other, and all branches of a block reduce alike.
        """
        ends = []
        for row in self.rows:
            for part in row.content[0] if isinstance(row.content, tuple) else (row.content,):
                if isinstance(part, Conv):
                    kernel = part.kernel if isinstance(part.kernel, int) else max(part.kernel)
                    side = after(side, kernel, part.strides, part.padding)
                elif isinstance(part, Pool):
                    side = after(side, part.size, part.strides, part.padding)
            ends.append((row.name, side))
        return ends

    def scaled(self, multiplier: float, least: int) -> Spec:
        """The spec with every number of filters multiplied, but none below `least`: Slim's `depth_multiplier`."""

        def scale(content: Any) -> Any:
            if isinstance(content, tuple):
                return tuple(scale(part) for part in content)
            if isinstance(content, Split):
                return Split(scale(content.branches))
            return replace(content, filters=filters(content.filters)) if isinstance(content, Conv) else content

        def filters(count: int) -> int:
            return scaled(count, multiplier, least)

        rows = tuple(replace(row, content=scale(row.content)) for row in self.rows)
        one, two = self.auxiliary_filters
        return replace(self, rows=rows, auxiliary_filters=(filters(one), filters(two)))


def _v1(number: str, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> Row:
    """A module of Inception V1; where the paper has 5x5, Slim and its checkpoint have 3x3."""
    branches = (
        (Conv(one, 1),),
        (Conv(three[0], 1), Conv(three[1], 3)),
        (Conv(five[0], 1), Conv(five[1], 3)),
        (Pool("max", 3), Conv(pooled, 1)),
    )
    return Row(f"mixed{number}", f"Mixed_{number}", branches)


def _a(number: int, letter: str, pooled: int) -> Row:
    branches = (
        (Conv(64, 1),),
        (Conv(48, 1), Conv(64, 5)),
        (Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        (Pool("average", 3), Conv(pooled, 1)),
    )
    return Row(f"mixed{number}", f"Mixed_5{letter}", branches)


def _b(number: int, letter: str, seven: int) -> Row:
    branches = (
        (Conv(192, 1),),
        (Conv(seven, 1), Conv(seven, (1, 7)), Conv(192, (7, 1))),
        (Conv(seven, 1), Conv(seven, (7, 1)), Conv(seven, (1, 7)), Conv(seven, (7, 1)), Conv(192, (1, 7))),
        (Pool("average", 3), Conv(192, 1)),
    )
    return Row(f"mixed{number}", f"Mixed_6{letter}", branches)


def _c(number: int, letter: str) -> Row:
    cross = Split(((Conv(384, (1, 3)),), (Conv(384, (3, 1)),)))
    branches = (
        (Conv(320, 1),),
        (Conv(384, 1), cross),
        (Conv(448, 1), Conv(384, 3), cross),
        (Pool("average", 3), Conv(192, 1)),
    )
    return Row(f"mixed{number}", f"Mixed_7{letter}", branches)


INCEPTION_V1 = Spec(
    rows=(
        Row("conv1a", "Conv2d_1a_7x7", Conv(64, 7, 2)),  # 112 x 112 x 64
        Row("pool2a", "MaxPool_2a_3x3", Pool("max", 3, 2)),  # 56 x 56 x 64
        Row("conv2b", "Conv2d_2b_1x1", Conv(64, 1)),
        Row("conv2c", "Conv2d_2c_3x3", Conv(192, 3)),  # 56 x 56 x 192
        Row("pool3a", "MaxPool_3a_3x3", Pool("max", 3, 2)),  # 28 x 28 x 192
        _v1("3b", 64, (96, 128), (16, 32), 32),  # 28 x 28 x 256
        _v1("3c", 128, (128, 192), (32, 96), 64),  # 28 x 28 x 480
        Row("pool4a", "MaxPool_4a_3x3", Pool("max", 3, 2)),  # 14 x 14 x 480
        _v1("4b", 192, (96, 208), (16, 48), 64),  # 14 x 14 x 512
        _v1("4c", 160, (112, 224), (24, 64), 64),
        _v1("4d", 128, (128, 256), (24, 64), 64),
        _v1("4e", 112, (144, 288), (32, 64), 64),  # 14 x 14 x 528
        _v1("4f", 256, (160, 320), (32, 128), 128),  # 14 x 14 x 832
        Row("pool5a", "MaxPool_5a_2x2", Pool("max", 2, 2)),  # 7 x 7 x 832
        _v1("5b", 256, (160, 320), (32, 128), 128),  # 7 x 7 x 832
        _v1("5c", 384, (192, 384), (48, 128), 128),  # 7 x 7 x 1024
    )
)
INCEPTION_V3 = Spec(
    auxiliary_at="mixed7",
    rows=(
        Row("conv1a", "Conv2d_1a_3x3", Conv(32, 3, 2, "valid")),  # 149 x 149 x 32
        Row("conv2a", "Conv2d_2a_3x3", Conv(32, 3, 1, "valid")),  # 147 x 147 x 32
        Row("conv2b", "Conv2d_2b_3x3", Conv(64, 3)),  # 147 x 147 x 64
        Row("pool3a", "MaxPool_3a_3x3", Pool("max", 3, 2, "valid")),  # 73 x 73 x 64
        Row("conv3b", "Conv2d_3b_1x1", Conv(80, 1)),  # 73 x 73 x 80
        Row("conv4a", "Conv2d_4a_3x3", Conv(192, 3, 1, "valid")),  # 71 x 71 x 192
        Row("pool5a", "MaxPool_5a_3x3", Pool("max", 3, 2, "valid")),  # 35 x 35 x 192
        _a(0, "b", 32),  # 35 x 35 x 256
        _a(1, "c", 64),  # 35 x 35 x 288
        _a(2, "d", 64),
        Row(
            "mixed3",
            "Mixed_6a",
            (
                (Conv(384, 3, 2, "valid"),),
                (Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, "valid")),
                (Pool("max", 3, 2, "valid"),),
            ),
        ),  # 17 x 17 x 768
        _b(4, "b", 128),
        _b(5, "c", 160),
        _b(6, "d", 160),
        _b(7, "e", 192),
        Row(
            "mixed8",
            "Mixed_7a",
            (
                (Conv(192, 1), Conv(320, 3, 2, "valid")),
                (Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "valid")),
                (Pool("max", 3, 2, "valid"),),
            ),
        ),  # 8 x 8 x 1280
        _c(9, "b"),  # 8 x 8 x 2048
        _c(10, "c"),
    ),
)
