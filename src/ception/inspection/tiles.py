"""Tiles of a picture of a network: a block as a box, or as a frame that shows its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ception.inspection.canvas import ACCENT, APART, FILLS, LARGE, LINE, NORMAL, PAD, PALE, ROW, Canvas, width_of
from ception.inspection.graph import AND, DOTS, TIMES, Block, Cell, Fork
from ception.inspection.rows import LayerDrawing, measure, rail_of


def amount(number: float) -> str:
    """A number with three digits and its unit: `22.9 M`."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.0f}"


def _title(block: Block) -> tuple[str, str, str]:
    """Name, how often, and costs."""
    name = block.name + ("" if block.count == 1 else f"{DOTS if block.count > 2 else ', '}{block.last}")
    counts = [(block.parameters, "parameters"), (block.macs, "MACs")]
    cost = AND.join(f"{amount(number)} {what}" for number, what in counts if number)
    return (
        name,
        f"{TIMES} {block.count}" if block.count > 1 else "",
        cost + (" each" if cost and block.count > 1 else ""),
    )


@dataclass(frozen=True)
class Tile(ABC):
    """A block to draw, around the spine that runs through it.

    Attributes:
        block: The block.
        left: What it takes left of the spine.
        right: What it takes right of the spine.
        rail: How far right of the spine a shortcut runs.
        height: Its height.
        tap: How far above its lower end the shortcut is added.
    """

    block: Block
    left: float
    right: float
    rail: float
    height: float
    tap: float

    @property
    def stray(self) -> bool:
        """Whether its shortcut begins at another block's shortcut."""
        return bool(self.block.residual and self.block.residual[1].source)

    def widened(self, half: float) -> Tile:
        """The tile as wide as the others of its column."""
        return self

    @abstractmethod
    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""


class Box(Tile):
    """A block as one box, and a shortcut to the right of it."""

    @classmethod
    def of(cls, block: Block, least: float = 60.0) -> Box:
        """The box of a block."""
        name, times, cost = _title(block)
        widths = [
            width_of(name, LARGE, True) + width_of(times, LARGE, True) + 2 * PAD,
            width_of(block.asides),
            width_of(cost),
        ]
        half = max(least, (max(widths + [width_of(line, NORMAL) for line in block.words]) + 3 * PAD) / 2)
        rail = half + APART
        right = rail + 5 + width_of(block.shortcut) if block.shortcut else half
        height = 2 * PAD + LINE * (1 + len(block.words) + bool(block.asides) + bool(cost))
        return cls(block, half, right, rail, height + (18 if block.shortcut else 0), 6.0)

    def widened(self, half: float) -> Box:
        """The box as wide as the others of its column."""
        return Box.of(self.block, half)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""
        name, times, cost = _title(self.block)
        bottom = y + self.height - (18 if self.block.shortcut else 0)
        canvas.box((x - self.left, y), 2 * self.left, bottom - y, FILLS[self.block.kind], round=4, name=self.block.name)
        if self.block.shortcut:
            self._draw_shortcut(canvas, x, y, bottom)
        left, y = x - self.left + 1.5 * PAD, y + PAD + LINE / 2
        canvas.text(left, y, name, LARGE, weight="bold")
        canvas.text(x + self.left - 1.5 * PAD, y, times, LARGE, weight="bold", color=ACCENT, ha="right")
        for line in self.block.words:
            y += LINE
            canvas.text(left, y, line, NORMAL)
        for line in filter(None, (self.block.asides, cost)):
            y += LINE
            canvas.text(left, y, line, color=PALE)

    def _draw_shortcut(self, canvas: Canvas, x: float, top: float, bottom: float) -> None:
        rail, end, start = x + self.rail, bottom + 12, (x, top - 12)
        canvas.line((x, bottom), (x, end), arrow=False)
        canvas.line(*([(rail, top)] if self.stray else [start, (rail, top - 12)]), (rail, end), (x + 5.5, end))
        if not self.stray:
            canvas.dot(start)
        canvas.text(rail + 5, (top + bottom) / 2, self.block.shortcut)
        canvas.dot((x, end), 5.5, "white")
        canvas.text(x, end, "+", LARGE, ha="center")


class Frame(Tile):
    """A block that shows its layers below a bar with its name."""

    @classmethod
    def of(cls, block: Block) -> Frame:
        """The frame of a block."""
        name, times, cost = _title(block)
        left, right, height = measure(block.content)
        title = max(width_of(name, NORMAL, True) + width_of(times, NORMAL, True) + PAD, width_of(cost)) / 2
        left = max(left, title + PAD) + PAD
        right = max(right + PAD, left)
        first = block.content[0]
        rail = rail_of(first) if isinstance(first, Fork) and block.residual else right + PAD
        height += LINE * (1 + bool(cost)) + 5 + PAD + (PAD if isinstance(first, Cell) else 0)
        return cls(block, left, right, rail, height, PAD + ROW / 2)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its spine at `x` from the height `y` on."""
        name, times, cost = _title(self.block)
        fill, bar = FILLS[self.block.kind], LINE * (1 + bool(cost)) + 5
        left = x - self.left
        canvas.box((left, y), self.left + self.right, self.height, "#fafbfc", round=3)
        canvas.box((left, y), self.left + (self.left if self.stray else self.right), bar, fill, round=3)
        end = canvas.text(left + PAD, y + 3 + LINE / 2, name, NORMAL, weight="bold")
        canvas.text(end + PAD, y + 3 + LINE / 2, times, NORMAL, weight="bold", color=ACCENT)
        canvas.text(left + PAD, y + 2 + 1.5 * LINE, cost, color=PALE)
        start = y + bar
        if isinstance(self.block.content[0], Cell):
            start += PAD
            canvas.line((x, y + bar), (x, start))
        LayerDrawing(canvas, fill, self.block.name, y).series(self.block.content, x, start)
