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
_LEVELS = (  # from coarse to fine: side, steps, side of the square for the strength of detail, agreement needed
    (32, 8, 7, 0.55), (64, 3, 7, 0.4), (SIDE, 2, 15, 0.45),
)  # fmt: skip
_LARGEST_STEP = 0.03  # of an edge, as a share of the side
_OUTSIDE = 0.05  # how far a window may reach beyond the picture
_LEAST = 0.5  # share of a side that a window spans at least
_LEAST_GAIN = 0.05  # contrast of the part beside the whole's, below which there is nothing to align
_BURNT_OUT = 250  # a grey level from which on there may have been more
_LEAST_CLEAR = 0.2  # share of pixels below, with which the rest is left out
_DETAIL = 2.0  # pixels: the scale of detail
_NOISE = 1.0  # grey levels that are too weak to count


def are_parts(parts: NDArray[np.uint8], wholes: NDArray[np.uint8], windows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each picture shows the same as a window of another: that is what their detail says once they are aligned.

    Args:
        parts: Grey, (pictures, SIDE, SIDE).
        wholes: Grey, (pictures, SIDE, SIDE).
        windows: About where each part lies in its whole: the edges of a `Window`, (pictures, 4).
    """
    left, edges = np.arange(len(parts)), np.array(windows, np.float64)
    for side, steps, around, needed in _LEVELS:
        fixed, moving = _shrunk(parts[left], side), _shrunk(wholes[left], side)
        edges = _aligned(fixed, moving, edges, steps)
        alike = _agreement(fixed, _cut(moving, edges, side), around) >= needed
        left, edges = left[alike], edges[alike]
    found = np.zeros(len(parts), bool)
    found[left] = True
    return found


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32], around: int) -> NDArray[np.float64]:
    """The correlation, -1..1, of the detail of each two pictures."""
    gain = one.std((1, 2)) / np.maximum(other.std((1, 2)), 1e-6)
    one, other = _detail(one, around), _detail(other * gain[:, None, None], around)
    strength = (one**2).mean((1, 2)) * (other**2).mean((1, 2))
    return np.asarray((one * other).mean((1, 2)) / np.sqrt(strength + 1e-12), np.float64)


def _shrunk(pictures: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """The pictures with a smaller side, each pixel the mean of those that it covers."""
    edges = np.linspace(0, pictures.shape[1], side + 1)
    pixels = np.arange(pictures.shape[1])
    covered = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, None)
    mean = (covered * side / pictures.shape[1]).astype(np.float32)
    return np.asarray(mean @ pictures.astype(np.float32) @ mean.T, np.float32)


def _aligned(
    fixed: NDArray[np.float32], moving: NDArray[np.float32], edges: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """The edges of the windows of `moving` that look most like `fixed`, but for gain and offset."""
    count, side, _ = fixed.shape
    across = ((np.arange(side) + 0.5) / side).astype(np.float32)  # 0 at the first edge, 1 at the last
    slopes = np.ones((count, 6, side, side), np.float32)  # by each edge, gain and offset
    for _ in range(steps):
        laid = _cut(moving, edges, side)
        spans = (edges[:, 1::2] - edges[:, ::2]).astype(np.float32)[:, :, None, None] / side
        down, right = np.gradient(laid, axis=(1, 2))
        right, down = right / spans[:, 0], down / spans[:, 1]
        slopes[:, 0], slopes[:, 1] = right * (1 - across), right * across
        slopes[:, 2], slopes[:, 3] = down * (1 - across)[:, None], down * across[:, None]
        slopes[:, 4] = laid
        clear = np.maximum(fixed, laid) < _BURNT_OUT
        clear |= clear.mean((1, 2), keepdims=True) < _LEAST_CLEAR
        flat = (slopes * clear[:, None]).reshape(count, 6, side * side)
        normal = (flat @ flat.swapaxes(1, 2)).astype(np.float64)
        normal[:, range(6), range(6)] *= 1.001  # a plain picture has no slopes
        wanted = flat @ fixed.reshape(count, side * side, 1)
        solved = np.linalg.solve(normal + 1e-6 * np.eye(6), wanted)[:, :, 0]
        gain = solved[:, 4:5]
        step = np.clip(solved[:, :4] / np.maximum(gain, _LEAST_GAIN), -_LARGEST_STEP, _LARGEST_STEP)
        edges = edges + np.where(gain > _LEAST_GAIN, step, 0)
        edges = np.clip(edges, (-_OUTSIDE, _LEAST) * 2, (1 - _LEAST, 1 + _OUTSIDE) * 2)
    return edges


def _cut(pictures: NDArray[np.float32], edges: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """A window of each picture, (pictures, side, side); what lies outside is like the nearest edge."""
    across, down = (_between(edges[:, k : k + 2], pictures.shape[1], side) for k in (0, 2))
    return np.asarray(down @ pictures @ across.swapaxes(1, 2), np.float32)


def _between(stretches: NDArray[np.float64], count: int, side: int) -> NDArray[np.float32]:
    """Matrices that interpolate `side` values of a stretch from as many as `count`, linearly."""
    low, high = stretches[:, :1], stretches[:, 1:]
    places = np.clip((low + (high - low) * (np.arange(side) + 0.5) / side) * count - 0.5, 0, count - 1)
    distance = np.abs(places[:, :, None] - np.arange(count))
    return np.asarray(np.maximum(1 - distance, 0), np.float32)


def _detail(pictures: NDArray[np.float32], around: int) -> NDArray[np.float32]:
    """What differs from the surroundings, relative to how much does so thereabouts."""
    from scipy import ndimage

    detail = pictures - ndimage.gaussian_filter(pictures, (0, _DETAIL, _DETAIL))
    strength = ndimage.uniform_filter(detail**2, (1, around, around))
    return np.asarray(detail / np.sqrt(strength + _NOISE**2), np.float32)
