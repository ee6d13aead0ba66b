"""The layers of a block: how much room they take, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, takewhile

from ception.inspection.canvas import APART, DARK, PALE, ROW, STEP, Canvas, Point, width_of
from ception.inspection.graph import ASIDES, Branch, Cell, Fork, Series, cells, shape_text


def _prefix(fork: Fork, branch: Branch) -> str:
    """What the names of a branch's layers begin with."""
    parts = [cell.name.split("_")[:-1] for cell in cells(branch.content)]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
    return "" if fork.residual else "".join(f"{words[0]}_" for words in alike)


def _kind(cell: Cell) -> str:
    return f"{cell.kind} {cell.detail}".strip()


def _gap(before: Cell | Fork, item: Cell | Fork) -> float:
    return STEP if isinstance(item, Cell) and item.shape != before.shape else 0.0


def _cell_width(own: Sequence[Cell | Fork | None], prefix: str) -> float:
    """Width of the layers of a column, whose names are to the left and kinds to the right."""
    drawn = [cell for cell in own if isinstance(cell, Cell)]
    names = [width_of(cell.name.removeprefix(prefix)) for cell in drawn]
    return max(names) + max(width_of(_kind(cell)) for cell in drawn) + 24 if drawn else 0.0


@lru_cache(maxsize=4096)
def measure(series: Series, prefix: str = "") -> tuple[float, float, float]:
    """Left and right of the spine, and height."""
    half = _cell_width(series, prefix) / 2
    spreads = [_measure_fork(item, prefix) if isinstance(item, Fork) else (half, half, ROW) for item in series]
    height = sum(spread[2] for spread in spreads) + sum(_gap(*pair) for pair in pairwise(series))
    return max((spread[0] for spread in spreads), default=0), max((spread[1] for spread in spreads), default=0), height


def _measure_fork(fork: Fork, prefix: str) -> tuple[float, float, float]:
    spreads = [measure(branch.content, _prefix(fork, branch)) for branch in fork.branches]
    height = 2 * STEP + max(spread[2] for spread in spreads) + (ROW if fork.merge else 0)
    merge = _cell_width([fork.merge], prefix) / 2
    if fork.residual:
        main, shortcut = (branch.content for branch in fork.residual)
        beside = measure(shortcut)[1] if shortcut else 5 + width_of("identity")
        return max(measure(main)[0], merge), rail_of(fork) + beside, height
    half = max(merge, (sum(left + right for left, right, _ in spreads) + APART * (len(spreads) - 1)) / 2)
    return half, half, height


def rail_of(fork: Fork) -> float:
    """How far right of the spine a shortcut runs."""
    main, shortcut = (measure(branch.content) for branch in fork.residual or ())
    return max(main[1], _cell_width([fork.merge], "") / 2) + APART + shortcut[0]


@dataclass(frozen=True)
class LayerDrawing:
    """Draws the layers of a block.

    Attributes:
        canvas: Where to.
        fill: The block's colour.
        block: Its name.
        top: Where its frame begins.
    """

    canvas: Canvas
    fill: str
    block: str
    top: float

    def series(self, series: Series, x: float, y: float, prefix: str = "", *, bar: bool = True) -> float:
        """Draw layers from the height `y` on; return where they end.

        Args:
            series: The layers.
            x: The spine.
            y: Upper end.
            prefix: Of their names, which is left out.
            bar: Whether the block's wide bar lies above them.
        """
        half = _cell_width(series, prefix) / 2
        before: Cell | Fork | None = None
        for item in series:
            if before and _gap(before, item):
                self.edge((x, y), [(x, y + STEP)], before.shape)
                y += STEP
            if isinstance(item, Cell):
                y = self.cell(item, x, half, y, prefix)
            else:
                y = self.fork(item, x, y, prefix, bar=bar and before is None)
            before = item
        return y

    def cell(self, cell: Cell, x: float, half: float, y: float, prefix: str) -> float:
        """Draw a layer; return where it ends."""
        quiet = cell.kind in ASIDES
        full = cell.name if cell.name == self.block else f"{self.block}_{cell.name}"
        self.canvas.box((x - half, y), 2 * half, ROW, "white" if quiet else self.fill, name=full)
        self.canvas.text(x - half + 5, y + ROW / 2, cell.name.removeprefix(prefix), color=PALE)
        self.canvas.text(x + half - 5, y + ROW / 2, _kind(cell), color=PALE if quiet else DARK, ha="right")
        return y + ROW

    def edge(self, start: Point, way: Sequence[Point], shape: tuple[int, ...]) -> None:
        """Draw an arrow with a shape at its beginning."""
        self.canvas.line(start, *way)
        self.canvas.text(start[0] + 5, start[1] + STEP / 2 - 1, shape_text(shape), color=PALE)

    def fork(self, fork: Fork, x: float, y: float, prefix: str, *, bar: bool) -> float:
        """Draw branches and what joins them; return where they end."""
        half, _, height = _measure_fork(fork, prefix)
        end = y + height - (ROW if fork.merge else 0)
        if fork.residual:
            self.residual(fork, x, y, end, bar=bar)
        else:
            self.branches(fork, x - half, (x, y), end, prefix, bar=bar)
        return self.cell(fork.merge, x, half, end, prefix) if fork.merge else end

    def branches(self, fork: Fork, left: float, start: Point, end: float, prefix: str, *, bar: bool) -> None:
        """Draw branches side by side, from where they part to what joins them."""
        y = start[1]
        for branch in fork.branches:
            own = _prefix(fork, branch)
            spread = measure(branch.content, own)
            x = left + spread[0]
            self.canvas.line(*([(x, y)] if bar else [start, (start[0], y + 7), (x, y + 7)]), (x, y + STEP))
            label = own.removeprefix(prefix).rstrip("_")
            self.canvas.text(x + 5, y + STEP / 2 + 2, label, color=PALE, weight="bold")
            low = self.series(branch.content, x, y + STEP, own, bar=False)
            self.edge((x, low), [(x, end)], branch.content[-1].shape if branch.content and fork.merge else ())
            left = x + spread[1] + APART

    def residual(self, fork: Fork, x: float, y: float, end: float, *, bar: bool) -> None:
        """Draw a branch and a shortcut around it."""
        main, shortcut = fork.residual or fork.branches
        self.canvas.line((x, y), (x, y + STEP))
        self.edge((x, self.series(main.content, x, y + STEP, bar=False)), [(x, end)], main.content[-1].shape)
        rail, level, edge = x + rail_of(fork), end + ROW / 2, x + _measure_fork(fork, "")[0]
        start = [(rail, self.top)] if shortcut.source else [(rail, y)] if bar else [(x, y + 7), (rail, y + 7)]
        if not shortcut.content:
            self.canvas.line(*start, (rail, level), (edge, level))
            self.canvas.text(rail + 5, (y + end) / 2, "identity", color=PALE)
            return
        self.canvas.line(*start, (rail, y + STEP))
        low = self.series(shortcut.content, rail, y + STEP, bar=False)
        self.edge((rail, low), [(rail, level), (edge, level)], shortcut.content[-1].shape)
