"""Published weights: one record each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from ception.errors import InputError, nearest
from ception.models.config import IMAGENET_MEAN, IMAGENET_STD
from ception.weights.names import Scheme


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A published checkpoint.

    Attributes:
        network: The network it is for, a key of `MODELS`.
        url: Where it lies; `hf:<repository>` for a model.safetensors on the Hugging Face hub.
        digest: Its hash or the hash's beginning, `md5:` or `sha256:`; "" where the hub vouches for it. TF-Slim's
            archives have none and are not downloaded.
        megabytes: Its size.
        scheme: Whose names its tensors have, by which `ception.weights.names.pairs` maps them.
        head: Whether it has ImageNet's 1,000 logits, named by `imagenet_classes`.
        port: Whose rules the network has to follow: a key of the network's `PORTS`; None means its own.
        mean: What is subtracted from pixels 0..255, one number or one per channel.
        std: What they are divided by after that.
        crop: Share of the shorter side that the central crop keeps, as it was evaluated.
        accuracy: Published top-1 accuracy on ImageNet.
        licence: Its licence.
        paper: Where the training is described.
    """

    network: str
    url: str
    digest: str = ""
    megabytes: int
    scheme: Scheme
    head: bool = True
    port: str | None = None
    mean: float | tuple[float, ...] = 127.5
    std: float | tuple[float, ...] = 127.5
    crop: float = 0.875
    accuracy: float | None = None
    licence: str = "Apache-2.0"
    paper: str


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_XCEPTION_FILE = f"{_KERAS}/xception/xception_weights_tf_dim_ordering_tf_kernels"
_INCEPTION_FILE = f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels"
_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
_SLIM = "http://download.tensorflow.org/models"
_XCEPTION, _INCEPTION, _DEEPLAB = "arXiv:1610.02357", "arXiv:1512.00567", "arXiv:1802.02611"

# For each network, the first one is what "imagenet" means
WEIGHTS: Mapping[str, PublishedWeights] = {
    "xception.keras_in1k": PublishedWeights(
        network="xception", scheme="keras",
        url=f"{_XCEPTION_FILE}.h5", digest="md5:0a58e3b7378bc2990ea3b43d5981f1f6", megabytes=92,
        accuracy=0.790, licence="MIT", paper=_XCEPTION,
    ),
    "xception.keras_in1k_notop": PublishedWeights(
        network="xception", scheme="keras",
        url=f"{_XCEPTION_FILE}_notop.h5", digest="md5:b0042744bf5b25fce3cb969f33bebb97",
        megabytes=84, head=False, licence="MIT", paper=_XCEPTION,
    ),
    "legacy_xception.tf_in1k": PublishedWeights(
        network="xception", scheme="timm_legacy",
        url=f"{_RELEASES}/v0.1-cadene/xception-43020ad28.pth", digest="sha256:43020ad28",
        megabytes=92, port="timm_legacy", crop=0.8975, accuracy=0.790, paper=_XCEPTION,
    ),
    "xception41.tf_in1k": PublishedWeights(
        network="xception_41", scheme="timm",
        url="hf:timm/xception41.tf_in1k", megabytes=108, crop=0.903, accuracy=0.785,
        paper=_DEEPLAB,
    ),
    "xception65.ra3_in1k": PublishedWeights(
        network="xception_65", scheme="timm",
        url="hf:timm/xception65.ra3_in1k", megabytes=160, crop=0.94, accuracy=0.8319,
        paper="arXiv:2110.00476",
    ),
    "xception65.tf_in1k": PublishedWeights(
        network="xception_65", scheme="timm",
        url="hf:timm/xception65.tf_in1k", megabytes=160, crop=0.903, accuracy=0.7956,
        paper=_DEEPLAB,
    ),
    "xception71.tf_in1k": PublishedWeights(
        network="xception_71", scheme="timm",
        url="hf:timm/xception71.tf_in1k", megabytes=170, crop=0.903, accuracy=0.799,
        paper=_DEEPLAB,
    ),
    "inception_v3.keras_in1k": PublishedWeights(
        network="inception_v3", scheme="keras",
        url=f"{_INCEPTION_FILE}.h5", digest="md5:9a0d58056eeedaa3f26cb7ebd46da564",
        megabytes=96, accuracy=0.779, licence="MIT", paper=_INCEPTION,
    ),
    "inception_v3.keras_in1k_notop": PublishedWeights(
        network="inception_v3", scheme="keras",
        url=f"{_INCEPTION_FILE}_notop.h5", digest="md5:bcbd6486424b2319ff4ef7d526e38f63",
        megabytes=88, head=False, licence="MIT", paper=_INCEPTION,
    ),
    "inception_v3.tf_in1k": PublishedWeights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tf_in1k", megabytes=95, port="torchvision", accuracy=0.7787,
        paper=_INCEPTION,
    ),
    "inception_v3.gluon_in1k": PublishedWeights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.gluon_in1k", megabytes=95, port="torchvision",
        mean=IMAGENET_MEAN, std=IMAGENET_STD, accuracy=0.7881, paper=_INCEPTION,
    ),
    "inception_v3.tv_in1k": PublishedWeights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tv_in1k", megabytes=109, port="torchvision",
        accuracy=0.7747, paper=_INCEPTION,
    ),
    "inception_v3.tf_adv_in1k": PublishedWeights(
        network="inception_v3", scheme="torchvision",
        url="hf:timm/inception_v3.tf_adv_in1k", megabytes=95, port="torchvision",
        paper="arXiv:1611.01236",
    ),
    "inception_v3.torchvision_in1k": PublishedWeights(
        network="inception_v3", scheme="torchvision",
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        digest="sha256:0cc3c7bd", megabytes=109, port="torchvision", accuracy=0.7729, licence="BSD-3-Clause",
        paper=_INCEPTION,
    ),
    "inception_v3.slim_in1k": PublishedWeights(
        network="inception_v3", scheme="slim",
        url=f"{_SLIM}/inception_v3_2016_08_28.tar.gz", megabytes=101, accuracy=0.780,
        paper=_INCEPTION,
    ),
    "inception_v1.slim_in1k": PublishedWeights(
        network="inception_v1", scheme="slim",
        url=f"{_SLIM}/inception_v1_2016_08_28.tar.gz", megabytes=25, accuracy=0.698,
        paper="arXiv:1409.4842",
    ),
}  # fmt: skip


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of the logits."""
    lines = files("ception.weights").joinpath("imagenet.txt").read_text().splitlines()
    return tuple(line.split(" ", 1)[1] for line in lines)


def record_of(network: str, weights: str) -> PublishedWeights | None:
    """The record that a name means for a network; None where it is none, but maybe a path.

    Raises:
        InputError: the record is another network's, or the network has none.
    """
    own = {name: record for name, record in WEIGHTS.items() if record.network == network}
    if weights == "imagenet":
        if not own:
            having = ", ".join(dict.fromkeys(record.network for record in WEIGHTS.values()))
            raise InputError(f"no weights of {network} for ImageNet are published (known: those of {having})")
        return next(iter(own.values()))
    record = WEIGHTS.get(weights)
    if record and record.network != network:
        raise InputError(f"{weights} are weights of {record.network}, not of {network}: {nearest(weights, own)}")
    return record


def is_there(network: str, weights: str | Path) -> bool:
    """Whether weights are published ones or a file; TensorFlow's name one and mean several."""
    named = record_of(network, str(weights)) is not None
    return named or Path(weights).exists() or Path(f"{weights}.index").exists()


def require_file(network: str, weights: str | Path) -> None:
    """Raise an InputError if weights that are no published ones are no file either."""
    if not is_there(network, weights):
        own = [name for name, one in WEIGHTS.items() if one.network == network]
        own = ["imagenet", *own] if own else own
        raise InputError(f"{weights} is neither a file nor published weights: {nearest(str(weights), own)}")
