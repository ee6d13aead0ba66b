"""The small self-normalising network of depthwise separable convolutions for Fashion-MNIST, as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ception.models.tables.sizes import scaled


@dataclass(frozen=True)
class Row:
    """One block: two convolutions, then a 2x2 max pool that halves the size and drops an odd last row.

    Attributes:
        filters: Output channels.
        plain_first: Whether the first convolution is a plain one, as it should be on an image.
    """

    filters: int
    plain_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The network as a table.

    Attributes:
        rows: The blocks.
        hidden: Units of the dense layer before the logits.
    """

    rows: tuple[Row, ...]
    hidden: int

    def sizes(self, side: int) -> list[tuple[str, int]]:
        """The side of the feature maps after each block, in pixels, of pictures with that side; 0 where none is."""
        return [(f"block{number}", side // 2**number) for number in range(1, len(self.rows) + 1)]

    def scaled(self, multiplier: float, least: int) -> Spec:
        """The spec with every number of filters and units multiplied, but none below `least`."""

        def scale(count: int) -> int:
            return scaled(count, multiplier, least)

        rows = tuple(replace(row, filters=scale(row.filters)) for row in self.rows)
        return Spec(rows=rows, hidden=scale(self.hidden))


SEPARABLE_CNN = Spec(rows=(Row(32, plain_first=True), Row(64), Row(128)), hidden=128)
