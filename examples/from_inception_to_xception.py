"""The walk from Inception to Xception in numbers: what each step's module costs.

    python examples/from_inception_to_xception.py

Every module takes 28 x 28 x 192 feature maps and gives 256 channels, as GoogLeNet's first does. To look at one:
`ception summary extreme_inception --graph extreme.svg --expand`.
"""

from __future__ import annotations

import ception
from ception.models.networks import modules


def main() -> None:
    """Print the table, the cost of 3 -> 64 channels, and the formula behind it."""
    print(f"{'module':24} {'parameters':>10} {'MACs':>12} {'of the plain one':>17}")
    plain = ception.summary(modules.build("plain_convolution"))
    for name, module in modules.MODULES.items():
        cost = ception.summary(modules.build(name))
        share = cost.macs / plain.macs
        print(f"{name:24} {cost.parameters:>10,} {cost.macs:>12,} {share:>16.1%}  {module.title}; {module.source}")

    whole, separable = (
        modules.build(name, channels=3, filters=64).count_params()
        for name in ("plain_convolution", "separable_convolution")
    )
    print(f"\n3x3, 3 -> 64 channels: plain 3*3*3*64 = {whole:,} weights, separable 3*3*3 + 3*64 = {separable:,}")
    print(f"That is {separable / whole:.3f} of it, as 1/N + 1/K^2 = 1/64 + 1/9 = {1 / 64 + 1 / 9:.3f} says")

    print("\nThe spectrum between the two: one shared 1x1, then 3x3 on each of some segments")
    for segments in (1, 2, 4, 16, 64, 256):
        cost = ception.summary(modules.build("segmented_inception", segments=segments))
        print(f"{segments:>4} segments {cost.parameters:>10,} parameters {cost.macs:>12,} MACs")


if __name__ == "__main__":
    main()
