"""Networks that tests only look at, or fill anew: built once for all of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras

from ception import MODELS, build


def common(name: str, *, image_size: int | None = None, **options: Any) -> keras.Model:
    """The network as `build` gives it, with weights that another test may have changed."""
    size = (image_size, image_size) if image_size else MODELS[name].image_size
    return _built(name, image_size=size, **options)


_built = lru_cache(maxsize=12)(build)


def thin(name: str, **options: Any) -> keras.Model:
    """A network of its own with few filters on small pictures."""
    return build(name, **few(name) | options)


def few(name: str) -> dict[str, Any]:
    """What `build` takes for few filters on small pictures."""
    return {"image_size": MODELS[name].smallest, "classes": 5, "depth_multiplier": 0.1, "min_depth": 8}
