"""Changes of training pictures that most classes survive; the same on every backend, from one random generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1  # changes with what the functions below compute
_LARGEST_RATIO = 4 / 3  # of the sides of a crop, as a share of the picture's own
_OPERATIONS = 2  # of RandAugment, for each picture
_MOST_MAGNITUDE = 30


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which changes are made.

    Attributes:
        flip: Share of the pictures, 0..1, that are mirrored left to right.
        shift: Largest shift in each direction, as a share of height and width; the border is repeated.
        erase: Share of the pictures in which a rectangle of 2 % to 25 % of the area gets one random value.
        crop: Largest share of the area, 0..1, that is cut away around a random rectangle, which is then enlarged.
        colour: Largest change of brightness, contrast and saturation, as a share of each.
        randaugment: Magnitude, 0..30, of two operations of RandAugment; 0 makes none.
    """

    flip: float = 0.0
    shift: float = 0.0
    erase: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    randaugment: int = 0


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How training examples are mixed in pairs, labels as well.

    Attributes:
        mixup: Parameter of the Beta distribution that the share of the first one is from; 0 mixes none.
        cutmix: The same for a rectangle of the second one in the first. Where both are given, each batch takes one.
    """

    mixup: float = 0.0
    cutmix: float = 0.0


def augment(
    batch: NDArray[np.uint8], augmentation: Augmentation, random: np.random.Generator,
    places: NDArray[np.integer] | None = None, count: int | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """A changed copy of a batch, or of some of its pictures, as they are in the copy of the whole.

    Args:
        batch: uint8 of shape (pictures, height, width, channels).
        augmentation: Which changes are made.
        random: Decides them, for the whole batch.
        places: Those of these pictures in the batch; None where they are all of it.
        count: Pictures of the whole batch, where places are given.

    Source: erasing is that of Zhong et al., arXiv:1708.04896, algorithm 1, but for the largest area (there
        40 %), the ratio of the sides, which is drawn on a logarithmic scale, and one value for the whole rectangle.
        RandAugment is Cubuk et al., arXiv:1909.13719, with the ranges of torchvision's `RandAugment`. The random
        rectangle is that of Szegedy et al., arXiv:1409.4842, section 6.
    """
    own, height, width, _ = batch.shape
    places = np.arange(own) if places is None else places
    count = own if count is None else count
    index_of = {int(place): index for index, place in enumerate(places)}
    rows = np.repeat(np.arange(height)[None], own, 0)
    columns = np.repeat(np.arange(width)[None], own, 0)
    mirrored = (random.random(count) < augmentation.flip)[places]
    columns[mirrored] = columns[mirrored, ::-1]
    most_down, most_right = int(augmentation.shift * height), int(augmentation.shift * width)
    down = random.integers(-most_down, most_down + 1, (count, 1))[places]
    right = random.integers(-most_right, most_right + 1, (count, 1))[places]
    rows = np.clip(rows + down, 0, height - 1)
    columns = np.take_along_axis(columns, np.clip(np.arange(width)[None] + right, 0, width - 1), 1)
    changed: NDArray[np.uint8] = batch[np.arange(own)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if augmentation.crop or augmentation.colour or augmentation.randaugment:
        for place in range(count):
            changes = _drawn((width, height), augmentation, random)
            if place in index_of:
                _redraw(changed[index_of[place]], changes)
    for place in map(int, np.flatnonzero(random.random(count) < augmentation.erase)):
        area = random.uniform(0.02, 0.25) * height * width
        ratio = np.exp(random.uniform(np.log(0.3), np.log(1 / 0.3)))
        tall = min(height, max(1, round(float(np.sqrt(area * ratio)))))
        wide = min(width, max(1, round(float(np.sqrt(area / ratio)))))
        top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
        value = random.integers(0, 256)
        if place in index_of:
            changed[index_of[place], top : top + tall, left : left + wide] = value
    return changed


_Change = Callable[[Image.Image], Image.Image]


def _drawn(size: tuple[int, int], augmentation: Augmentation, random: np.random.Generator) -> list[_Change]:
    """Crop, colour and RandAugment of a picture of (width, height), decided."""
    changes: list[_Change] = []
    if augmentation.crop:
        box = _rectangle(size, augmentation.crop, random)
        changes.append(lambda image: image.resize(size, Image.Resampling.BILINEAR, box=box))
    if augmentation.colour:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            factor = 1 + random.uniform(-augmentation.colour, augmentation.colour)
            changes.append(partial(_enhanced_by, enhance, factor))
    if augmentation.randaugment:
        for name in random.choice(list(_RANDAUGMENT), _OPERATIONS):
            strength = augmentation.randaugment / _MOST_MAGNITUDE * random.choice([-1, 1])
            changes.append(partial(_operated, name, float(strength)))
    return changes


def _redraw(picture: NDArray[np.uint8], changes: list[_Change]) -> None:
    """Change a picture in place."""
    image = Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0])
    for change in changes:
        image = change(image)
    picture[:] = np.asarray(image).reshape(picture.shape)


def _rectangle(size: tuple[int, int], most: float, random: np.random.Generator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a random part of a picture of (width, height)."""
    width, height = size
    area = 1 - random.uniform(0, most)
    most_ratio = min(np.log(_LARGEST_RATIO), -np.log(area))  # at which no side is longer than the picture's
    ratio = np.exp(random.uniform(-most_ratio, most_ratio))
    wide, tall = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
    left, top = random.uniform(0, 1 - wide), random.uniform(0, 1 - tall)
    return left * width, top * height, (left + wide) * width, (top + tall) * height


def _warped(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """What an affine map from places in the result to places in the picture gives; grey where there is none."""
    fill: Any = (127,) * len(image.getbands()) if image.mode == "RGB" else 127
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _rotated(image: Image.Image, strength: float) -> Image.Image:
    fill: Any = (127,) * len(image.getbands()) if image.mode == "RGB" else 127
    return image.rotate(30 * strength, Image.Resampling.BILINEAR, fillcolor=fill)


def _enhanced_by(kind: Any, factor: float, image: Image.Image) -> Image.Image:
    changed: Image.Image = kind(image).enhance(factor)
    return changed


def _enhanced(kind: Any) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, strength: _enhanced_by(kind, 1 + 0.9 * strength, image)


# From a picture and a strength, -1..1, to the changed picture
_RANDAUGMENT: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, _: image,
    "shear_x": lambda image, strength: _warped(image, (1, 0.3 * strength, 0, 0, 1, 0)),
    "shear_y": lambda image, strength: _warped(image, (1, 0, 0, 0.3 * strength, 1, 0)),
    "translate_x": lambda image, strength: _warped(image, (1, 0, 150 / 331 * strength * image.width, 0, 1, 0)),
    "translate_y": lambda image, strength: _warped(image, (1, 0, 0, 0, 1, 150 / 331 * strength * image.height)),
    "rotate": _rotated,
    "brightness": _enhanced(ImageEnhance.Brightness),
    "saturation": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "solarize": lambda image, strength: ImageOps.solarize(image, round(255 * (1 - abs(strength)))),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
}


def _operated(name: str, strength: float, image: Image.Image) -> Image.Image:
    return _RANDAUGMENT[name](image, strength)


_Examples = tuple["NDArray[Any]", "NDArray[np.float32]"]


def mix(
    examples: _Examples, others: _Examples, mixing: Mixing, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each example mixed with another one, and the labels in the same shares.

    Args:
        examples: Pictures or feature maps (batch, height, width, channels), or features (batch, channels), which have
            no rectangles: CutMix leaves them as they are. And the weight of each class, (batch, classes).
        others: Those that they are mixed with, alike.
        mixing: How they are mixed.
        random: Decides the shares.

    Source: MixUp is Zhang et al., arXiv:1710.09412; on what layers give, Verma et al., arXiv:1806.05236. CutMix is Yun
        et al., arXiv:1905.04899.
    """
    (batch, targets), (other, other_targets) = examples, others
    ways = [way for way, on in (("mixup", mixing.mixup), ("cutmix", mixing.cutmix and batch.ndim == 4)) if on]
    mixed = batch.astype(np.float32)
    if not ways:
        return mixed, targets
    way = ways[random.integers(len(ways))]
    own = float(random.beta(*2 * [getattr(mixing, way)]))
    if way == "mixup":
        mixed = own * mixed + np.float32(1 - own) * other.astype(np.float32)
    else:
        height, width = batch.shape[1:3]
        tall, wide = height * np.sqrt(1 - own), width * np.sqrt(1 - own)
        middle = random.uniform(0, height), random.uniform(0, width)
        top, bottom = (int(np.clip(round(middle[0] + sign * tall / 2), 0, height)) for sign in (-1, 1))
        left, right = (int(np.clip(round(middle[1] + sign * wide / 2), 0, width)) for sign in (-1, 1))
        mixed[:, top:bottom, left:right] = other[:, top:bottom, left:right]
        own = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, np.float32(own) * targets + np.float32(1 - own) * other_targets
