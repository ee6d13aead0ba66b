"""The options of what looks at data sets, or writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ception.settings.shared import CacheSettings, ClusterSettings


@dataclass(frozen=True, kw_only=True)
class CheckSettings(CacheSettings, ClusterSettings):
    """How to check a data set.

    Attributes:
        model: Network whose own size the pictures should have, or model file or run folder, whose classes are compared
            too; the network that train takes when not given.
        weights: Look for wrong labels too, by what the network sees in the pictures with these weights: imagenet, a
            name that ception models --weights lists, or a weight file. A model file is looked through by its own.
            Without either, nothing is downloaded and no label is doubted.
        final_endpoint: End the network there, as for train.
        partial: Accept weights that lack some of the network's tensors.
        image_size: Side of the square that training will use, in pixels; the network's own when not given.
        group: What keeps pictures in one split, as for train.
        out: Page to write, .html; check-DATA.html here when not given.
    """

    model: str | None = None
    weights: str | None = None
    final_endpoint: str | None = None
    partial: bool = False
    image_size: int | None = None
    group: str | None = None
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ShardSettings(CacheSettings):
    """How to write a data set as tar shards.

    Attributes:
        shard_size: Size of a tar archive, in MB.
        group: What keeps pictures in one split, as for train.
        skip_unreadable: Leave out pictures that cannot be read.
    """

    shard_size: float = 256.0
    group: str | None = None
    skip_unreadable: bool = False
