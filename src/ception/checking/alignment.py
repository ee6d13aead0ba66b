"""How far two pictures agree in detail where one is laid over a part of the other.

What makes photos of alike things correlate are their large shapes and strong edges: a green lid on a grey table is
the same disc as a brown one. A copy has the weak detail of its original too: the grain of the ground, the shading on
the disc. So one picture is laid exactly over the other (Gauss-Newton on the edges of the window, from coarse to fine),
and what is correlated then is their detail, weighted so that weak detail counts as much as strong edges.

Source: Lucas and Kanade, An Iterative Image Registration Technique (1981), section 4.3, with a window of free width and
    height as the warp, and gain and offset; divisive normalisation as in Lyu and Simoncelli, Nonlinear Image
    Representation Using Divisive Normalization (2008), section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 160  # of the grey copies: detail that a smaller copy does not have tells copies from look-alikes
Window: TypeAlias = "tuple[float, float, float, float]"  # left, right, top, bottom as shares of the sides
WHOLE: Window = (0.0, 1.0, 0.0, 1.0)
_LEVELS = (  # from coarse to fine: side, most steps, side of the square for the strength of detail, agreement needed
    (32, 8, 7, 0.55), (64, 3, 7, 0.4), (SIDE, 2, 15, 0.45),
)  # fmt: skip
_LARGEST_STEP, _SMALLEST_STEP = 0.03, 1e-4  # of an edge, as shares of the side
_OUTSIDE = 0.05  # how far a window may reach beyond the picture
_LEAST = 0.5  # share of a side that a window spans at least
_LEAST_GAIN = 0.05  # contrast of the part beside the whole's, below which there is nothing to align
_BURNT_OUT = 250  # a grey level from which on there may have been more
_LEAST_CLEAR = 0.2  # share of pixels below, with which the rest is left out
_DETAIL = 2.0  # pixels: the scale of detail
_NOISE = 1.0  # grey levels that are too weak to count


def is_part(part: NDArray[np.uint8], whole: NDArray[np.uint8], window: Window) -> bool:
    """Whether a picture shows the same as a window of another: that is what their detail says once they are aligned.

    Args:
        part: Grey, (SIDE, SIDE).
        whole: Grey, (SIDE, SIDE).
        window: About where the part lies in the whole.
    """
    edges = np.array(window)
    for side, steps, around, needed in _LEVELS:
        fixed, moving = _shrunk(part, side), _shrunk(whole, side)
        edges = _aligned(fixed, moving, edges, steps)
        if _agreement(fixed, _cut(moving, edges, side), around) < needed:
            return False
    return True


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32], around: int) -> float:
    """The correlation, -1..1, of the detail of two pictures."""
    one, other = _detail(one, around), _detail(other * (one.std() / max(1e-6, float(other.std()))), around)
    return float((one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean() + 1e-12))


def _shrunk(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    from PIL import Image

    if len(picture) != side:
        picture = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX))
    return picture.astype(np.float32)


def _aligned(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], edges: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """The edges of the window of `moving` that looks most like `fixed`, but for gain and offset."""
    side = len(fixed)
    across = ((np.arange(side) + 0.5) / side).astype(np.float32)  # 0 at the first edge, 1 at the last
    slopes = np.ones((6, side, side), np.float32)  # by each edge, gain and offset
    for _ in range(steps):
        laid = _cut(moving, edges, side)
        down, right = np.gradient(laid)
        right *= side / float(edges[1] - edges[0])
        down *= side / float(edges[3] - edges[2])
        slopes[0], slopes[1] = right * (1 - across), right * across
        slopes[2], slopes[3] = down * (1 - across)[:, None], down * across[:, None]
        slopes[4] = laid
        flat = slopes.reshape(6, -1)
        clear = (np.maximum(fixed, laid) < _BURNT_OUT).reshape(-1)
        if clear.mean() >= _LEAST_CLEAR:
            flat = flat * clear
        normal = (flat @ flat.T).astype(np.float64)
        normal[np.diag_indices(6)] *= 1.001  # a plain picture has no slopes
        solved = np.linalg.solve(normal + 1e-6 * np.eye(6), flat @ fixed.reshape(-1))
        if solved[4] <= _LEAST_GAIN:
            break
        step = np.clip(solved[:4] / solved[4], -_LARGEST_STEP, _LARGEST_STEP)
        edges = np.clip(edges + step, (-_OUTSIDE, _LEAST) * 2, (1 - _LEAST, 1 + _OUTSIDE) * 2)
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return edges


def _cut(picture: NDArray[np.float32], edges: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """A window of a picture, (side, side); what lies outside is like the nearest edge."""
    left, right, top, bottom = edges
    laid = _between(top, bottom, len(picture), side) @ picture @ _between(left, right, len(picture), side).T
    return np.asarray(laid, np.float32)


def _between(low: float, high: float, count: int, side: int) -> NDArray[np.float32]:
    """A matrix that interpolates `side` values of a stretch from as many as `count`, linearly."""
    places = np.clip((low + (high - low) * (np.arange(side) + 0.5) / side) * count - 0.5, 0, count - 1)
    first = np.minimum(places.astype(np.intp), count - 2)
    matrix: NDArray[np.float32] = np.zeros((side, count), np.float32)
    rows = np.arange(side)
    matrix[rows, first] = first + 1 - places
    matrix[rows, first + 1] = places - first
    return matrix


def _detail(picture: NDArray[np.float32], around: int) -> NDArray[np.float32]:
    """What differs from the surroundings, relative to how much does so thereabouts."""
    from scipy import ndimage

    detail = picture - ndimage.gaussian_filter(picture, _DETAIL)
    return np.asarray(detail / np.sqrt(ndimage.uniform_filter(detail**2, around) + _NOISE**2), np.float32)
