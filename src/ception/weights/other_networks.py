"""Networks that are not of this family, told by what they call their layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# A name of a layer that no network of this family has, and whose network it is: keras.applications, torchvision, timm
_TELLING: tuple[tuple[str, str], ...] = (
    (r"conv_dw_\d+(_bn)?|conv_pw_\d+(_bn)?", "MobileNet"),
    (r"(mobl\d*)?block_\d+_(expand|depthwise|project)(_BN)?|expanded_conv(_\d+)?(_\w+)?", "MobileNet V2 or V3"),
    (r"features\.\d+\.(conv|block)\.\d+\..*|blocks\.\d+\.\d+\.(conv_dw|conv_pw|conv_pwl|bn\d)\..*",
     "MobileNet or EfficientNet"),
    (r"block\d[a-z]_(se_\w+|expand_\w+|dwconv\d?|project_\w+)", "EfficientNet"),
    (r"_blocks\.\d+\._(expand_conv|depthwise_conv|project_conv)\..*|features\.\d+\.\d+\.block\..*", "EfficientNet"),
    (r"conv\d_block\d+_[0-3]_(conv|bn)|res\d[a-z]_branch2[a-c]", "ResNet"),
    (r"layer[1-4]\.\d+\.(conv|bn)\d\..*", "ResNet"),
    (r"conv\d_block\d+_[0-2]_(relu|concat)|features\.denseblock\d\..*", "DenseNet"),
    (r"block5_conv[1-4]|features\.(28|34|40)\.(weight|bias)", "VGG"),
    (r"block35_\d+_conv|block8_10_conv|mixed_5b\w*|repeat(_\d)?\.\d+\.branch\d.*", "Inception-ResNet V2"),
    (r"inception_[abc]\d?_\w+|features\.\d+\.branch\d\.\d+\.conv\..*", "Inception V4"),
    (r"normal_conv_\w+|reduction_\w+_\d+|separable_conv_1_\w+_normal\w*", "NASNet"),
    (r"convnext_\w+_stage_\d_block_\d+_\w+|stages\.\d\.blocks\.\d+\.(conv_dw|dwconv|mlp)\..*", "ConvNeXt"),
    (r"(blocks|encoder\.layers?)\.(\w*\d+)\.(attn|self_attention|attention)\..*|(vit\.)?embeddings\.patch_embed.*"
     r"|patch_embed\..*|encoderblock_\d+.*", "vision transformer"),
)  # fmt: skip
_LEAST = 3  # names, or one alone might be by chance


def other_network(keys: Iterable[str]) -> str:
    """What network tensors are of by their names, where it is none of this family; "" where that cannot be told."""
    layers = {key.rpartition("/")[0].rpartition("/")[2] or re.sub(r"^(module|model|net|backbone)\.", "", key)
              for key in keys}  # fmt: skip
    counts = Counter(name for layer in layers for pattern, name in _TELLING if re.fullmatch(pattern, layer))
    name, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return name if count >= _LEAST else ""
