"""What a network is: `MODELS` lists them, `build` makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ception.errors import InputError, nearest
from ception.models import inception as inceptions
from ception.models import separable_cnn as separable_cnns
from ception.models import xception as xceptions
from ception.models.blocks import head, seeded
from ception.models.endpoints import truncate
from ception.models.inception import inception
from ception.models.separable_cnn import separable_cnn
from ception.models.sizes import count, factor, height_and_width, share
from ception.models.weights import load, open_weights, own_scaling, port_of
from ception.models.xception import xception


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network and what is published about it.

    Attributes:
        builder: From a scaled image tensor, the spec, and options to logits.
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

    builder: Callable[..., Any]
    spec: Any
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


def _slim(spec: inceptions.Spec) -> dict[str, str]:
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
    "xception": Model(
        builder=xception,
        spec=xceptions.XCEPTION,
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
    "xception_light_norm": Model(
        builder=xception,
        spec=xceptions.LIGHT_NORM,
        smallest=71,
        parameters=22_817_480,
        trainable=22_805_848,
        macs=8_424_672_656,
        source="a tutorial's Xception in TensorFlow with few batch normalisations, its printed layer table",
        aliases=_KERAS_HEAD,
    ),
    "xception_chained_shortcut": Model(
        builder=xception,
        spec=xceptions.CHAINED_SHORTCUT,
        smallest=71,
        parameters=22_910_480,
        trainable=22_855_952,
        macs=8_470_752_656,
        source="a tutorial's Xception from scratch in TensorFlow, its shortcuts made of shortcuts",
        aliases=_KERAS_HEAD,
    ),
    "xception_41": Model(
        builder=xception,
        spec=xceptions.XCEPTION_41,
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
    "xception_65": Model(
        builder=xception,
        spec=xceptions.XCEPTION_65,
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
    "xception_71": Model(
        builder=xception,
        spec=xceptions.XCEPTION_71,
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
    "inception_v1": Model(
        builder=inception,
        spec=inceptions.INCEPTION_V1,
        image_size=(224, 224),
        smallest=32,
        parameters=6_632_184,
        trainable=6_617_624,
        macs=1_498_376_192,
        dropout=0.2,
        accuracy=0.698,
        accuracy_on="ImageNet, TF-Slim's checkpoint",
        source="arXiv:1409.4842 as TF-Slim's inception_v1.py has it",
        aliases=_slim(inceptions.INCEPTION_V1),
    ),
    "inception_v3": Model(
        builder=inception,
        spec=inceptions.INCEPTION_V3,
        smallest=75,
        parameters=23_851_784,
        trainable=23_817_352,
        macs=5_713_216_096,
        dropout=0.2,
        accuracy=0.788,
        accuracy_on="ImageNet, the paper's table 3, one crop",
        source="arXiv:1512.00567; TF-Slim's inception_v3.py; keras.applications.InceptionV3",
        aliases=_slim(inceptions.INCEPTION_V3),
    ),
    "separable_cnn": Model(
        builder=separable_cnn,
        spec=separable_cnns.SEPARABLE_CNN,
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


def find(name: str) -> Model:
    """The entry of `MODELS`.

    Raises:
        InputError: there is none of that name.
    """
    if name not in MODELS:
        raise InputError(f"unknown model '{name}': {nearest(str(name), MODELS)}")
    return MODELS[name]


def build(
    name: str,
    *,
    classes: int | None = None,
    image_size: int | Sequence[int] | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    weights: str | Path | None = None,
    scaling: Sequence[Any] | None = None,
    auxiliary: bool = False,
    depth_multiplier: float = 1.0,
    min_depth: int | None = None,
    every: Mapping[str, Any] | None = None,
    final_endpoint: str | None = None,
    port: str | None = None,
    partial: bool = False,
    dtype: str = "float32",
    seed: int | None = None,
) -> keras.Model:
    """A network with fresh or published weights.

    Args:
        name: A key of `MODELS`.
        classes: Number of classes; None means the network's own or, with `final_endpoint`, no head.
        image_size: Side of the square, or (height, width), in pixels; None means the network's own.
        channels: Input channels; None means the network's own.
        dropout: Share of hidden units that dropout hides in training, 0 <= rate < 1; None means the network's own.
        weights: "imagenet", a key of `ception.models.weights.WEIGHTS`, or a path: Keras `.h5`, `.weights.h5` or
            `.keras`, safetensors, a PyTorch state dict, a TF-Slim checkpoint, our own file. None means fresh ones.
        scaling: (mean, deviation) of the pixels 0..255; the network computes with (pixel - mean) / deviation. Each is
            a number or one for each channel. None means the weights' own, else (127.5, 127.5): -1..1.
        auxiliary: Whether the auxiliary head is a second output; `inception_v3` has one.
        depth_multiplier: Factor of every number of filters, above 0.
        min_depth: Least number of filters, whatever the factor; None means 16, Slim's, where there is a factor.
        every: Columns of the network's table to change in every row, such as `{"shortcut": None}`, `{"inner": "elu"}`
            or `{"segments": 4}` for an Xception: see `ception.models.xception.Row`.
        final_endpoint: Endpoint, by any of its names, that the network ends at, with a head of its own where `classes`
            are given; None means the logits.
        port: Whose rules the network follows where ports of it differ: a key of `PORTS[name]`. None means the
            weights' own, else the publication's.
        partial: Whether the weights may lack tensors of the network.
        dtype: Keras dtype policy, such as `float32` or `mixed_bfloat16`; scaling and logits are always float32.
        seed: Start of the initial weights and of dropout; None draws another one each time.

    Returns:
        A `keras.Model` from float32 pictures (batch, height, width, channels) with values 0..255 to float32
        logits (batch, classes), with the auxiliary head to a list of both logits, without a head to feature maps. A
        layer that ends a block has the block's name, such as `block1`; all other names contain an underscore.

    Raises:
        InputError: an unknown name, or an option that the network cannot have.
    """
    model, headless = find(name), classes is None
    if auxiliary and final_endpoint is not None:
        raise InputError(f"the auxiliary head belongs to the whole network, not to one that ends at {final_endpoint}")
    classes = count("classes", model.classes if classes is None else classes)
    channels = count("channels", model.channels if channels is None else channels)
    dropout = share("dropout", model.dropout if dropout is None else dropout)
    height, width = height_and_width(model.image_size if image_size is None else image_size)
    depth_multiplier = factor("depth_multiplier", depth_multiplier)
    check(name, height=height, width=width, auxiliary=auxiliary)
    spec = _changed(name, every) if every else model.spec
    checkpoint, record = open_weights(name, weights) if weights is not None else (None, None)
    if checkpoint and port is None:
        port = record.port if record else port_of(name, checkpoint)
    if checkpoint and scaling is None:
        scaling = (record.mean, record.deviation) if record else own_scaling(checkpoint)
    mean, deviation = _scaling(scaling, channels)
    if port is not None:
        spec = replace(spec, **_port(name, port))
    if depth_multiplier != 1 or min_depth is not None:
        spec = spec.scaled(depth_multiplier, 16 if min_depth is None else count("min_depth", min_depth))
    options = {"classes": classes, "dropout": dropout, "dtype": dtype} | ({"auxiliary": True} if auxiliary else {})
    try:
        with seeded(seed):
            image = keras.Input((height, width, channels), name="input_image", dtype="float32")
            scale, offset = (1 / deviation).tolist(), (-mean / deviation).tolist()
            x = keras.layers.Rescaling(scale, offset, name="input_scaling", dtype="float32")(image)
            whole = keras.Model(image, model.builder(x, spec, **options), name=name)
            network = whole if final_endpoint is None else truncate(whole, final_endpoint)
            if final_endpoint is not None and not headless:
                if len(network.output.shape) != 4:
                    raise InputError(f"a head goes on feature maps, which {final_endpoint} of {name} are not")
                end = head(network.output, classes=classes, dropout=dropout, dtype=dtype)
                network = keras.Model(image, end, name=name)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be built with {dict(every or {}) or options}: {error}") from None
    if checkpoint:
        load(network, checkpoint, partial=partial, whole=whole)
    return network


def _scaling(given: Sequence[Any] | None, channels: int) -> tuple[Any, Any]:
    """Mean and deviation of the pixels, as arrays without axes or with one of the channels."""
    given = (127.5, 127.5) if given is None else given
    try:
        mean, deviation = (np.asarray(value, np.float64) for value in given)
    except (TypeError, ValueError):
        raise InputError(f"scaling must be (mean, deviation), got {given!r}") from None
    if channels == 1 and mean.ndim:  # a grey picture is the mean of its colours
        mean, deviation = mean.mean(), deviation.mean()
    elif mean.shape == deviation.shape == (3,) != (channels,):  # more channels take the colours' in turn, as kernels do
        mean, deviation = mean[np.arange(channels) % 3], deviation[np.arange(channels) % 3]
    if not {mean.shape, deviation.shape} <= {(), (channels,)}:
        raise InputError(f"scaling must be numbers, or one for each of {channels} channels; got {given!r}")
    if not (deviation > 0).all():
        raise InputError(f"the deviation of the scaling must be above 0, got {deviation.tolist()}")
    mean, deviation = np.broadcast_arrays(mean, deviation)
    return mean, deviation


def _port(name: str, port: str) -> dict[str, Any]:
    """What a port changes in the network's table."""
    known = PORTS.get(name, {})
    if port not in known:
        raise InputError(f"unknown port '{port}' of {name}: {nearest(port, known)}")
    return known[port]


def check(name: str, *, height: int, width: int, auxiliary: bool = False) -> None:
    """Check that the network can take pictures of that size, and that it has an auxiliary head if one is asked for.

    Raises:
        InputError: it cannot, or has none.
    """
    model = find(name)
    if auxiliary and not model.auxiliary:
        having = ", ".join(other for other, entry in MODELS.items() if entry.auxiliary)
        raise InputError(f"{name} has no auxiliary head (known: {having})")
    if min(height, width) >= model.smallest:
        return
    smaller = [other for other, entry in MODELS.items() if entry.smallest <= min(height, width)]
    instead = f", or take {' or '.join(smaller[:3])}" if smaller else ""
    raise InputError(
        f"{name} needs at least {model.smallest} x {model.smallest} pixels, got {height} x {width}: "
        f"{_last_map(model, height, width)}; enlarge them to at least {model.smallest} x {model.smallest}{instead}"
    )


def _last_map(model: Model, height: int, width: int) -> str:
    """What would be left of a picture at the end, in words."""
    thin = model.spec.scaled(1e-9, 1)
    for depth in range(len(thin.rows), 0, -1):
        image = keras.Input((height, width, 3))
        try:
            logits = model.builder(image, replace(thin, rows=thin.rows[:depth]), classes=1, dropout=0.0, dtype=None)
        except ValueError:  # this block or one before it has no room
            continue
        ends = [layer for layer in keras.Model(image, logits).layers if "_" not in layer.name]
        last = [end for end in ends if len(end.output.shape) == 4 and end.name not in ("pool", "prelogits")][-1]
        size = f"{last.output.shape[1]} x {last.output.shape[2]}"
        if depth == len(thin.rows):
            return f"its last feature map would be {size}"
        return f"the feature map would be {size} after {last.name}, and nothing after the block behind it"
    return "nothing would be left after the first block"


def _changed(name: str, columns: Mapping[str, Any]) -> Any:
    """The network's table with some columns changed in every row."""
    spec = find(name).spec
    if not isinstance(spec, xceptions.Spec):
        having = ", ".join(other for other, entry in MODELS.items() if isinstance(entry.spec, xceptions.Spec))
        raise InputError(f"{name} has no columns that `every` could change (known: those of {having})")
    known = [column.name for column in fields(xceptions.Row)]
    for column in columns:
        if column not in known:
            raise InputError(f"unknown column '{column}' of {name}: {nearest(column, known)}")
        if not _ALLOWED[column](columns[column]):
            raise InputError(f"{column} of {name} cannot be {columns[column]!r}: see ception.models.xception.Row")
    return spec.every(**columns)


def columns(given: Sequence[str]) -> dict[str, Any]:
    """Columns to change, from texts such as `inner=elu`, `shortcut=none` or `segments=4`.

    Raises:
        InputError: a text has no equals sign.
    """
    words = {"none": None, "true": True, "false": False}
    found = {}
    for text in given:
        column, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"'{text}' must be COLUMN=VALUE, such as inner=elu, shortcut=none or segments=4")
        found[column.replace("-", "_")] = int(value) if value.isdigit() else words.get(value.lower(), value)
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


_ALLOWED: dict[str, Callable[[Any], bool]] = {
    "filters": lambda value: isinstance(value, tuple) and len(value) > 0 and all(map(_is_count, value)),
    "shortcut": lambda value: value in ("identity", "projection", "chained", None),
    "reduce": lambda value: value in ("pool", "stride", None),
    "inner": lambda value: value is None or isinstance(value, str),
    "segments": lambda value: value is None or _is_count(value),
    **dict.fromkeys(("shortcut_bias", "first_activation", "last_activation", "norm", "inner_norm"), _is_switch),
}
