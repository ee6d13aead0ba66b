"""The six Xceptions, their ablations and the spectrum from Inception, as tables of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ception.models.tables.sizes import after, scaled

Padding = Literal["valid", "same", "symmetric"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A block of separable convolutions; the defaults are a block of the middle flow.

    Attributes:
        filters: Output channels of each separable convolution.
        shortcut: What is added at the end: the block's input (`identity`), a 1x1 convolution of it (`projection`) or
            of the previous block's shortcut (`chained`: `xception_chained_shortcut`); None for nothing, as the paper's
            section 4.6 tries everywhere and as all have it in the last block.
        shortcut_bias: Whether the projection has a bias (`xception_light_norm`).
        reduce: What halves the size: a max `pool` at the end, the `stride` of the last separable convolution
            (DeepLab's networks), or None.
        first_activation: Whether an activation precedes the first convolution too.
        last_activation: Whether an activation follows the last convolution.
        norm: Whether batch normalisation follows each separable convolution, or all (`xception_light_norm`).
        inner_norm: Whether batch normalisation stands between depthwise and pointwise (DeepLab's networks).
        inner: Activation between depthwise and pointwise, such as `relu` or `elu`: the paper's section 4.7; the
            last block of DeepLab's networks has it.
        segments: Number of segments of channels in the 3x3 convolutions, the paper's section 1.2: 1 is a plain
            convolution, None is one segment per channel, Xception. Where it does not divide the channels of a
            convolution, that one has the largest smaller number that does.
    """

    filters: tuple[int, ...] = (728, 728, 728)
    shortcut: Literal["identity", "projection", "chained"] | None = "identity"
    shortcut_bias: bool = False
    reduce: Literal["pool", "stride"] | None = None
    first_activation: bool = True
    last_activation: bool = False
    norm: bool | tuple[bool, ...] = True
    inner_norm: bool = False
    inner: str | None = None
    segments: int | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """An Xception as a table.

    Attributes:
        rows: The blocks after the stem, `block2` and on.
        stem: Output channels of the two plain convolutions of `block1`.
        padding: Of the stem and of strided convolutions: "valid" is the paper's code, "same" pads more below and right
            where the size is even, "symmetric" (DeepLab) both sides alike.
        pool_padding: Of the max pools: "same" is the paper's code, "symmetric" timm's `legacy_xception`.
        epsilon: Of batch normalisation: 0.001 is the paper's code, 0.00001 timm's `legacy_xception`.
    """

    rows: tuple[Row, ...]
    stem: tuple[int, int] = (32, 64)
    padding: Padding = "valid"
    pool_padding: Padding = "same"
    epsilon: float = 1e-3

    def sizes(self, side: int) -> list[tuple[str, int]]:
        """The side of the feature maps after each block, in pixels, of pictures with that side; below 1 where none is.

        A picture's height and width do not depend on each other.
        """
        side = after(after(side, 3, 2, self.padding), 3, 1, self.padding)
        ends = [("block1", side)]
        for number, row in enumerate(self.rows, 2):
            if row.reduce:
                side = after(side, 3, 2, self.pool_padding if row.reduce == "pool" else self.padding)
            ends.append((f"block{number}", side))
        return ends

    def every(self, **columns: Any) -> Spec:
        """The spec with columns of every row changed, such as `shortcut=None`, `inner="elu"` or `segments=4`."""
        return replace(self, rows=tuple(replace(row, **columns) for row in self.rows))

    def scaled(self, multiplier: float, least: int) -> Spec:
        """The spec with every number of filters multiplied, but none below `least`."""

        def scale(filters: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(scaled(count, multiplier, least) for count in filters)

        rows = tuple(replace(row, filters=scale(row.filters)) for row in self.rows)
        return replace(self, stem=(scale(self.stem)[0], scale(self.stem)[1]), rows=rows)


def _down(*filters: int, **columns: Any) -> Row:
    return Row(filters=filters, **{"shortcut": "projection", "reduce": "pool"} | columns)


def _last(*filters: int, **columns: Any) -> Row:
    return Row(filters=filters, shortcut=None, first_activation=False, **{"last_activation": True} | columns)


def _aligned(*entry: Row, middle: int) -> Spec:
    """DeepLab's networks: three convolutions everywhere, strides instead of pools, more batch normalisation."""
    last = (_down(728, 1024, 1024, reduce="stride"), _last(1536, 1536, 2048, inner="relu"))
    spec = Spec(rows=(*entry, *[Row()] * middle, *last), padding="symmetric")
    return spec.every(inner_norm=True)


XCEPTION = Spec(
    rows=(
        _down(128, 128, first_activation=False),  # 74 x 74 x 128
        _down(256, 256),  # 37 x 37 x 256
        _down(728, 728),  # 19 x 19 x 728
        *[Row()] * 8,
        _down(728, 1024),  # 10 x 10 x 1024
        _last(1536, 2048),  # 10 x 10 x 2048
    )
)
LIGHT_NORM = Spec(
    padding="same",
    rows=(
        _down(128, 128, shortcut=None, first_activation=False, norm=(True, False)),  # 75 x 75 x 128
        _down(256, 256, shortcut_bias=True, norm=False),  # 38 x 38 x 256
        _down(728, 728, shortcut_bias=True, norm=False),  # 19 x 19 x 728
        *[Row(norm=False)] * 8,
        _down(728, 1024, norm=False),  # 10 x 10 x 1024
        _last(1536, 2048),  # 10 x 10 x 2048
    ),
)
CHAINED_SHORTCUT = Spec(
    padding="same",
    rows=(
        _down(128, 128, shortcut="chained", first_activation=False),  # 75 x 75 x 128
        _down(256, 256, shortcut="chained"),  # 38 x 38 x 256
        _down(728, 728, shortcut="chained"),  # 19 x 19 x 728
        *[Row(last_activation=True)] * 8,
        _down(728, 1024),  # 10 x 10 x 1024
        _last(1536, 2048, last_activation=False),  # 10 x 10 x 2048
    ),
)
_ENTRY = (_down(128, 128, 128, reduce="stride"), _down(256, 256, 256, reduce="stride"))  # 75, 38
_ENTRY_71 = (
    _down(128, 128, 128, reduce="stride"),  # 75 x 75 x 128
    _down(256, 256, 256, reduce=None),
    _down(256, 256, 256, reduce="stride"),  # 38 x 38 x 256
    _down(728, 728, 728, reduce=None),
    _down(728, 728, 728, reduce="stride"),  # 19 x 19 x 728
)
XCEPTION_41 = _aligned(*_ENTRY, _down(728, 728, 728, reduce="stride"), middle=8)
XCEPTION_65 = _aligned(*_ENTRY, _down(728, 728, 728, reduce="stride"), middle=16)
XCEPTION_71 = _aligned(*_ENTRY_71, middle=16)
