"""The walk from Inception to Xception: what each step of it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """A step of the walk.

    Attributes:
        title: What it is.
        source: Where it is published.
    """

    title: str
    source: str


MODULES = {
    "naive_inception": Module("Inception module, naive: 1x1, 3x3, 5x5 and a pool", "arXiv:1409.4842, figure 2a"),
    "bottleneck_inception": Module("with 1x1 bottlenecks before the large kernels", "arXiv:1409.4842, figure 2b"),
    "factorised_inception": Module("5x5 as two 3x3", "arXiv:1512.00567, figure 5"),
    "simplified_inception": Module("simplified: one kernel size, no pool", "arXiv:1610.02357, figure 2"),
    "segmented_inception": Module("one shared 1x1, then 3x3 on each segment", "arXiv:1610.02357, figure 3"),
    "extreme_inception": Module("extreme: one segment per channel", "arXiv:1610.02357, figure 4"),
    "separable_convolution": Module("depthwise separable: depthwise first", "arXiv:1610.02357, section 1.2"),
    "plain_convolution": Module("a plain 3x3 convolution, to compare with", "-"),
}
