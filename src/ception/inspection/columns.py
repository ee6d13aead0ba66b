"""Tiles in columns, and what connects them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from ception.inspection.canvas import APART, EDGE, GUTTER, HEAD, PALE, Canvas, Point
from ception.inspection.graph import Block, shape_text
from ception.inspection.tiles import Tile


@dataclass(frozen=True)
class Column:
    """Tiles below each other; beside each those that hang on it off the main way."""

    tiles: tuple[Tile, ...]
    sides: tuple[tuple[Tile, ...], ...]

    @classmethod
    def of(cls, tiles: Sequence[Tile], sides: Sequence[tuple[Tile, ...]]) -> Column:
        """A column of equally wide boxes."""
        half = max(tile.left for tile in tiles)
        return cls(tuple(tile.widened(half) for tile in tiles), tuple(sides))

    @cached_property
    def left(self) -> float:
        """What it takes left of the spine."""
        return max(tile.left for tile in self.tiles)

    @cached_property
    def right(self) -> float:
        """What it takes right of the spine."""
        rails = [tile.rail for tile in self.tiles if tile.block.residual]
        beside = [
            self.beside(number) + max(tile.right for tile in side) for number, side in enumerate(self.sides) if side
        ]
        return max([tile.right for tile in self.tiles] + rails + beside)

    @cached_property
    def height(self) -> float:
        """From above its first tile to below its last."""
        return max(self._low(number) for number in range(len(self.tiles)))

    @cached_property
    def tops(self) -> list[float]:
        """Where each tile begins."""
        return list(accumulate((tile.height + EDGE for tile in self.tiles[:-1]), initial=EDGE))

    def _low(self, number: int) -> float:
        """Where a tile, and what hangs on it, ends."""
        sides = sum(EDGE + tile.height for tile in self.sides[number])
        return self.tops[number] + self.tiles[number].height + sides + EDGE

    def beside(self, number: int) -> float:
        """How far right of the spine there is room for the spine of what hangs on a tile."""
        low = self._low(number)
        along = [tile for tile, top in zip(self.tiles, self.tops, strict=True) if self.tops[number] <= top < low]
        return max(tile.right for tile in along) + 2 * APART + max(tile.left for tile in self.sides[number])


def arranged(tiles: Sequence[Tile], sides: Sequence[tuple[Tile, ...]]) -> list[Column]:
    """Columns that waste little space in a picture that is half as wide again as it is high."""
    single = Column.of(tiles, sides)
    if single.height < 430:
        return [single]
    every = range(len(tiles) + 1)
    made = {(first, last): Column.of(tiles[first:last], sides[first:last])
            for last in every for first in every[:last]}  # fmt: skip

    def narrowest(most: float) -> tuple[float, list[Column]]:
        """Columns of at most a height that take the least width."""
        ways: list[tuple[float, list[Column]]] = [(0.0, [])]
        for last in every[1:]:
            ends = [(first, made[first, last]) for first in every[:last]]
            ways.append(min(((ways[first][0] + column.left + column.right + GUTTER, [*ways[first][1], column])
                             for first, column in ends if column.height <= most or first == last - 1),
                            key=lambda way: way[0]))  # fmt: skip
        return ways[-1]

    def cost(way: tuple[float, list[Column]]) -> float:
        width, height = way[0], HEAD + max(column.height for column in way[1])
        off = abs(math.log(width / max(height, 440) / 1.55))
        return math.log(width * height) + 4 * max(0.0, off - 0.15)

    return min((narrowest(most) for most in {column.height for column in made.values()}), key=cost)[1]


@dataclass(frozen=True)
class _Placed:
    """A tile, its spine, and where it begins."""

    tile: Tile
    x: float
    top: float

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.tile.height

    @property
    def rail(self) -> float:
        """Where its shortcut runs."""
        return self.x + self.tile.rail


def draw_columns(canvas: Canvas, columns: Sequence[Column], left: float, top: float) -> None:
    """Draw columns side by side from the point on, with the ways from tile to tile and from column to column."""
    placed: list[_Placed] = []
    turns: dict[int, Point] = {}  # after which tiles a column ends: where the way to the next one turns upwards
    for column in columns:
        x = left + column.left
        for number, (tile, y) in enumerate(zip(column.tiles, column.tops, strict=True)):
            placed.append(_Placed(tile, x, top + y))
            if column.sides[number]:
                _draw_side(canvas, placed[-1], column.sides[number], x + column.beside(number))
        left = x + column.right + GUTTER
        turns[len(placed) - 1] = left - GUTTER / 2 + 3, top + column.height
    carried = _carried([here.tile.block for here in placed])
    for number, (here, after) in enumerate(zip(placed, [*placed[1:], None], strict=True)):
        here.tile.draw(canvas, here.x, here.top)
        turn = turns.get(number)
        if after is None or turn is None:
            _draw_edge(canvas, here, [], after)
        else:
            _draw_edge(canvas, here, [(here.x, turn[1]), turn, (turn[0], top + 2), (after.x, top + 2)], after)
        if after and number in carried:
            middle = after.top - 16  # below the label
            corners = [(turn[1] - 9, turn[0] - 7), (top - 6, after.rail)] if turn else [(middle, after.rail)]
            _draw_carried(canvas, here, corners, after, begins=number - 1 not in carried)


def _draw_edge(canvas: Canvas, here: _Placed, way: Sequence[Point], after: _Placed | None) -> None:
    """Draw the connection to the next tile, or out of the network."""
    end = (after.x, after.top) if after else (here.x, here.bottom + EDGE - 8)
    canvas.line((here.x, here.bottom), *way, end)
    y = after.top - EDGE if after else here.bottom
    canvas.text(end[0] + 5, y + 13, shape_text(here.tile.block.shape), color=PALE)


def _draw_carried(
    canvas: Canvas, here: _Placed, corners: Sequence[Point], after: _Placed, *, begins: bool
) -> None:  # fmt: skip
    """Draw the connection from a shortcut to a later block's shortcut as far as the next tile.

    Args:
        canvas: Where to.
        here: The tile that it leaves.
        corners: Heights at which it turns, each with where to.
        after: The next tile.
        begins: Whether it comes from nowhere above `here`.
    """
    if here.tile.block.residual:
        points = [(here.rail, here.bottom - here.tile.tap)]
    else:
        points = [(here.x, here.bottom + 22), (here.rail, here.bottom + 22)] if begins else [(here.rail, here.top)]
    if here.tile.block.residual or begins:
        canvas.dot(points[0])
    for y, x in corners:
        points += [(points[-1][0], y), (x, y)]
    canvas.line(*points, (after.rail, after.top), arrow=False)


def _carried(way: Sequence[Block]) -> set[int]:
    """Which blocks a shortcut goes on from, or past, to a later block."""
    numbers = {block.last: number for number, block in enumerate(way)}
    sources = {number: block.residual[1].source for number, block in enumerate(way) if block.residual}
    return {between for number, source in sources.items() if source
            for between in range(numbers.get(source.split("_")[0], number), number)}  # fmt: skip


def _draw_side(canvas: Canvas, on: _Placed, side: Sequence[Tile], x: float) -> None:
    """Draw tiles that hang on one, from its lower end to the right and down."""
    level, before = on.bottom + EDGE / 2 + 4, on
    for tile in side:
        here = _Placed(tile, x, before.bottom + EDGE)
        _draw_edge(canvas, before, [(on.x, level), (x, level)] if before is on else [], here)
        tile.draw(canvas, here.x, here.top)
        before = here
    canvas.dot((on.x, level))
    _draw_edge(canvas, before, [], None)
