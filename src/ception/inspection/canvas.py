"""A figure in points, and what every part of a picture of a network looks like."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve
from matplotlib.textpath import text_to_path

FILLS = {
    "input": "#eceff1", "convolution": "#d9e8f6", "separable convolution": "#dcefdc", "inception": "#fdebd3",
    "pooling and head": "#ece4f3",
}  # fmt: skip
_SMALL, NORMAL, LARGE = 8.0, 9.0, 10.0  # points, as all lengths are
ROW, LINE, STEP, EDGE = 13.0, 12.5, 22.0, 38.0  # of a layer, of text, of an arrow in a block, between blocks
PAD, APART, GUTTER, MARGIN, HEAD = 8.0, 14.0, 34.0, 18.0, 58.0
DARK, PALE, _STROKE, ACCENT = "#1f2933", "#5f6b76", "#7b8794", "#b4451f"
Point = tuple[float, float]


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = _SMALL, bold: bool = False) -> float:
    """How wide a text of a size is, in points."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


class Canvas:
    """A figure that is measured in points from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = _SMALL, **changed: Any) -> float:
        """Write around the height `y`; return where the text ends if it begins at `x`."""
        look: dict[str, Any] = {"color": DARK, "weight": "normal", "va": "baseline", "parse_math": False} | changed
        self.axes.text(x, y + 0.36 * size, text, size=size, **look)
        return x + width_of(text, size, look["weight"] == "bold")

    def box(self, corner: Point, width: float, height: float, fill: str, *, round: float = 0.0, name: str = "") -> None:
        """Draw a rectangle; its name is its id in an SVG."""
        style = f"round,pad=0,rounding_size={round}" if round else "square,pad=0"
        box = FancyBboxPatch(corner, width, height, boxstyle=style, fc=fill, ec=_STROKE, lw=0.7)
        box.set_gid(name or None)
        self.axes.add_patch(box)

    def line(self, *points: Point, arrow: bool = True) -> None:
        """Draw a line with round corners."""
        path, codes = [points[0]], [Curve.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            path += [_towards(corner, before), corner, _towards(corner, after)]
            codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
        tip = points[-1]
        neck = _towards(tip, points[-2]) if arrow else tip
        self.axes.add_patch(PathPatch(Curve([*path, neck], [*codes, Curve.LINETO]), fc="none", ec=_STROKE, lw=0.9))
        if arrow:
            x, y = (tip[1] - neck[1]) * 0.45, (neck[0] - tip[0]) * 0.45
            wings = [tip, (neck[0] + x, neck[1] + y), (neck[0] - x, neck[1] - y)]
            self.axes.add_patch(Polygon(wings, fc=_STROKE, ec="none"))

    def dot(self, center: Point, radius: float = 1.8, fill: str = _STROKE) -> None:
        """Draw a dot, where lines part."""
        self.axes.add_patch(Circle(center, radius, fc=fill, ec=_STROKE, lw=0.9))


def _towards(start: Point, end: Point, most: float = 5.0) -> Point:
    """The point that lies so far on the way, or half the way."""
    x, y = end[0] - start[0], end[1] - start[1]
    share = min(most / (math.hypot(x, y) or 1.0), 0.5)
    return start[0] + share * x, start[1] + share * y
