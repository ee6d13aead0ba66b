"""What networks there are: `MODELS`, literal and read without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ception.errors import InputError, nearest
from ception.models.tables import inception, separable_cnn, xception

Spec = xception.Spec | inception.Spec | separable_cnn.Spec


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network as it was published.

    Attributes:
        spec: The network as a table.
        image_size: Its own (height, width) in pixels.
        channels: Its own number of input channels.
        smallest: Least height and width it works on, in pixels.
        classes: Its own number of classes.
        parameters: Number of weights and batch-norm statistics with its own size, channels and classes.
        trainable: Number of those that are trained.
        macs: Multiply-accumulates of convolutions and dense layers for one picture, likewise.
        dropout: Its own dropout rate.
        accuracy: Published top-1 accuracy; None where there is none.
        accuracy_on: What it was measured on, and by whom.
        source: Where it is published.
        aliases: Published name of an endpoint -> ours.
    """

    spec: Spec
    image_size: tuple[int, int] = (299, 299)
    channels: int = 3
    smallest: int
    classes: int = 1000
    parameters: int
    trainable: int
    macs: int
    dropout: float = 0.0
    accuracy: float | None = None
    accuracy_on: str = ""
    source: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def auxiliary(self) -> bool:
        """Whether the network has an auxiliary head."""
        return getattr(self.spec, "auxiliary_at", None) is not None


_KERAS_HEAD = {"avg_pool": "pool", "predictions": "predictions"}
_KERAS_XCEPTION = {"block1_conv2_act": "block1", "block14_sepconv2_act": "block14", **_KERAS_HEAD}
_SLIM_HEAD = {
    "PreLogits": "prelogits", "Logits": "logits", "AuxLogits": "auxiliary", "Predictions": "predictions",
    "AvgPool_1a": "pool", "AvgPool_1a_8x8": "pool", "AvgPool_0a_7x7": "pool", "global_pool": "pool",
}  # fmt: skip


def _slim(spec: inception.Spec) -> dict[str, str]:
    return {row.slim: row.name for row in spec.rows} | _SLIM_HEAD | _KERAS_HEAD


def _deeplab(entry: int, middle: int) -> dict[str, str]:
    """DeepLab's scopes and timm's modules."""
    names = [f"entry_flow/block{number}" for number in range(1, entry + 1)]
    names += [f"middle_flow/block1/unit_{number}" for number in range(1, middle + 1)]
    names += ["exit_flow/block1", "exit_flow/block2"]
    ours = [f"block{number}" for number in range(2, len(names) + 2)]
    timm = {f"blocks.{number}": name for number, name in enumerate(ours)}
    return dict(zip(names, ours, strict=True)) | timm | {"stem": "block1", "global_pool": "pool"}


MODELS = {
    "xception": Architecture(
        spec=xception.XCEPTION,
        smallest=71,
        parameters=22_910_480,
        trainable=22_855_952,
        macs=8_357_403_496,
        dropout=0.5,
        accuracy=0.790,
        accuracy_on="ImageNet, the paper's table 1",
        source="arXiv:1610.02357, figure 5; keras.applications.Xception",
        aliases=_KERAS_XCEPTION,
    ),
    "xception_light_norm": Architecture(
        spec=xception.LIGHT_NORM,
        smallest=71,
        parameters=22_817_480,
        trainable=22_805_848,
        macs=8_424_672_656,
        source="a tutorial's Xception in TensorFlow with few batch normalisations, its printed layer table",
        aliases=_KERAS_HEAD,
    ),
    "xception_chained_shortcut": Architecture(
        spec=xception.CHAINED_SHORTCUT,
        smallest=71,
        parameters=22_910_480,
        trainable=22_855_952,
        macs=8_470_752_656,
        source="a tutorial's Xception from scratch in TensorFlow, its shortcuts made of shortcuts",
        aliases=_KERAS_HEAD,
    ),
    "xception_41": Architecture(
        spec=xception.XCEPTION_41,
        smallest=71,
        parameters=26_969_560 + 115_312,
        trainable=26_969_560,
        macs=9_204_134_312,
        dropout=0.5,
        accuracy=0.785,
        accuracy_on="ImageNet, timm's xception41.tf_in1k",
        source="arXiv:1802.02611, section 3.2; timm's xception41",
        aliases=_deeplab(3, 8),
    ),
    "xception_65": Architecture(
        spec=xception.XCEPTION_65,
        smallest=71,
        parameters=39_916_312 + 185_200,
        trainable=39_916_312,
        macs=13_852_682_216,
        dropout=0.5,
        accuracy=0.7956,
        accuracy_on="ImageNet, timm's xception65.tf_in1k",
        source="arXiv:1802.02611, section 3.2; timm's xception65",
        aliases=_deeplab(3, 16),
    ),
    "xception_71": Architecture(
        spec=xception.XCEPTION_71,
        smallest=71,
        parameters=42_338_736 + 198_976,
        trainable=42_338_736,
        macs=17_946_553_928,
        dropout=0.5,
        accuracy=0.799,
        accuracy_on="ImageNet, timm's xception71.tf_in1k",
        source="DeepLab's xception_71; timm's xception71",
        aliases=_deeplab(5, 16),
    ),
    "inception_v1": Architecture(
        spec=inception.INCEPTION_V1,
        image_size=(224, 224),
        smallest=32,
        parameters=6_632_184,
        trainable=6_617_624,
        macs=1_498_376_192,
        dropout=0.2,
        accuracy=0.698,
        accuracy_on="ImageNet, TF-Slim's checkpoint",
        source="arXiv:1409.4842 as TF-Slim's inception_v1.py has it",
        aliases=_slim(inception.INCEPTION_V1),
    ),
    "inception_v3": Architecture(
        spec=inception.INCEPTION_V3,
        smallest=75,
        parameters=23_851_784,
        trainable=23_817_352,
        macs=5_713_216_096,
        dropout=0.2,
        accuracy=0.788,
        accuracy_on="ImageNet, the paper's table 3, one crop",
        source="arXiv:1512.00567; TF-Slim's inception_v3.py; keras.applications.InceptionV3",
        aliases=_slim(inception.INCEPTION_V3),
    ),
    "separable_cnn": Architecture(
        spec=separable_cnn.SEPARABLE_CNN,
        image_size=(28, 28),
        channels=1,
        smallest=8,
        classes=10,
        parameters=184_234,
        trainable=184_234,
        macs=4_065_600,
        accuracy=0.8441,
        accuracy_on="Fashion-MNIST, the tutorial's run",
        source="Depthwise separable convolution networks: theory and practice (TF 2.0), a tutorial",
    ),
}


# Published ports of a network that compute something else, and what differs there
PORTS: dict[str, dict[str, dict[str, Any]]] = {
    "xception": {"timm_legacy": {"pool_padding": "symmetric", "epsilon": 1e-5}},  # its xception.py
    "inception_v3": {"torchvision": {"gamma": True, "count_padding": True}},  # and timm
}


def find(name: str) -> Architecture:
    """The entry of `MODELS`.

    Raises:
        InputError: there is none of that name.
    """
    if name not in MODELS:
        raise InputError(f"unknown model '{name}': {nearest(str(name), MODELS)}")
    return MODELS[name]


def require_auxiliary(name: str) -> None:
    """Raise an InputError if a network has no auxiliary head."""
    if not find(name).auxiliary:
        having = ", ".join(other for other, entry in MODELS.items() if entry.auxiliary)
        raise InputError(f"{name} has no auxiliary head (known: {having})")


def require_size(name: str, height: int, width: int) -> None:
    """Raise an InputError if a network cannot take pictures of that size, in pixels.

    A size is refused where keras.applications refuses it, with the feature map that would be left.
    """
    architecture = find(name)
    least = architecture.smallest
    if min(height, width) >= least:
        return
    smaller = [other for other, entry in MODELS.items() if entry.smallest <= min(height, width)]
    instead = f", or take {' or '.join(smaller[:3])}" if smaller else ""
    raise InputError(
        f"{name} needs at least {least} x {least} pixels, got {height} x {width}: "
        f"{_last_map(architecture.spec, height, width)}; enlarge them to at least {least} x {least}{instead}"
    )


def _last_map(spec: Spec, height: int, width: int) -> str:
    """What would be left of a picture at the end, in words."""
    maps = [(name, rows, columns) for (name, rows), (_, columns) in zip(spec.sizes(height), spec.sizes(width),
                                                                       strict=True)]  # fmt: skip
    left = [one for one in maps if min(one[1:]) > 0]
    if not left:
        return "nothing would be left after the first block"
    name, rows, columns = left[-1]
    if len(left) == len(maps):
        return f"its last feature map would be {rows} x {columns}"
    return f"the feature map would be {rows} x {columns} after {name}, and nothing after the block behind it"
