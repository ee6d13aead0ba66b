"""What a classifier is made of to compute what the network in a weight file computes, and what was taken from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from ception.errors import InputError
from ception.models.catalog import find
from ception.models.config import NetworkConfig, NetworkOptions, Scaling
from ception.settings import Resize
from ception.weights.followed import FollowedNetwork, Head
from ception.weights.graphs import UnfollowedError
from ception.weights.opening import OpenedWeights
from ception.weights.published import imagenet_classes

_CROP = 0.875  # of the shorter side, as most published weights were evaluated
_HAND, _FILE, _OWN = "given by hand", "as the file says", "the network's own: the file says nothing of it"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A classifier for weights, but for its network.

    Attributes:
        config: What the network is built from.
        class_names: Names of the classes.
        unnamed: Whether they are just numbers.
        resize: How a picture becomes the network's size.
        crop: Share of the shorter side that the central crop keeps.
        taken: In words what was taken from the file, by hand, or for want of both.
    """

    config: NetworkConfig
    class_names: tuple[str, ...]
    unnamed: bool
    resize: Resize
    crop: float
    taken: Mapping[str, str]


def read_whole(
    opened: OpenedWeights,
    count: int | None,
    *,
    class_names: Sequence[str] | None = None,
    **options: Unpack[NetworkOptions],
) -> Reading:
    """What is to be built for weights.

    Args:
        opened: The weights.
        count: Number of classes of their head; None where they have none.
        class_names: Names of the classes by hand.
        options: What is said of the network by hand; the rest follows from the weights.

    Raises:
        InputError: the file says something that is not followed, or something else than what is given by hand.
    """
    given: Mapping[str, Any] = {option: value for option, value in options.items() if value is not None}
    taken: dict[str, str] = {}
    theirs = None if opened.record else opened.followed
    followed: NetworkOptions = {}
    if theirs:
        count, taken["head"] = _head(opened, theirs, count)
        followed = _shape(theirs)
        if "scaling" not in given:
            followed["scaling"] = _scaling(opened, theirs)
    if count is None:
        count = len(class_names) if class_names else find(opened.network).classes
    elif class_names and len(class_names) != count:
        raise InputError(f"{opened.checkpoint.path} has {count} classes, but --classes names {len(class_names)}")
    config = opened.config(**{**followed, "classes": count, **given})
    if not opened.record:
        taken |= _said(config, given, followed, "the file scales nothing" if theirs else "the file does not say")
    if class_names:
        taken["classes"] = f"{', '.join(class_names[:10])}{' ...' if len(class_names) > 10 else ''}, {_HAND}"
    if opened.checkpoint.found:
        taken["tensors"] = opened.checkpoint.found
    names = tuple(class_names or ())
    if not names and count == len(imagenet_classes()) and not (theirs and theirs.head is None):
        names = imagenet_classes()
    return Reading(
        config=config, class_names=names or tuple(map(str, range(count))), unnamed=not names,
        resize="squash" if theirs else "crop", crop=1.0 if theirs else opened.record.crop if opened.record else _CROP,
        taken=taken,
    )  # fmt: skip


def _head(opened: OpenedWeights, theirs: FollowedNetwork, classes: int | None) -> tuple[int | None, str]:
    """The number of classes that the file's head means, and that in words.

    Raises:
        InputError: its outputs are no probabilities of classes that exclude each other.
    """
    try:
        head = theirs.head
        if head is None:
            return classes, "none in the file: it has to be trained"
        return _meaning(head)
    except UnfollowedError as error:
        raise opened.unfollowed(error) from None


def _meaning(head: Head) -> tuple[int, str]:
    if head.units == 1 and head.activation in ("sigmoid", "linear"):
        taken = "sigmoid" if head.activation == "sigmoid" else "no activation: it is taken for a logit"
        return 2, f"one output ({taken}) became two classes with the logits 0 and that number"
    if head.units == 1:
        raise UnfollowedError(f"head '{head.layer}' is one number with {head.activation}, which tells no classes apart")
    if head.activation not in ("softmax", "linear"):
        what = "gives each class a probability of its own" if head.activation == "sigmoid" else "is no softmax"
        raise UnfollowedError(
            f"head '{head.layer}' ({head.activation}) {what}, where a classifier here chooses one class"
        )
    taken = "softmax" if head.activation == "softmax" else "no activation: they are taken for logits"
    return head.units, f"{head.units} classes ({taken})"


def _shape(theirs: FollowedNetwork) -> NetworkOptions:
    """Size and channels of the file's pictures, as far as it says them."""
    height, width, channels = theirs.shape
    shape: NetworkOptions = {} if height is None or width is None else {"image_size": (height, width)}
    if channels is not None:
        shape["channels"] = channels
    return shape


def _scaling(opened: OpenedWeights, theirs: FollowedNetwork) -> Scaling | None:
    try:
        return theirs.scaling
    except UnfollowedError as error:
        raise opened.unfollowed(error, "say with --scaling what it does, or ") from None


def _said(config: NetworkConfig, given: Mapping[str, Any], followed: Mapping[str, Any], unsaid: str) -> dict[str, str]:
    """Size and scaling, and who says so."""

    def source(option: str) -> str:
        return _HAND if option in given else _FILE if followed.get(option) is not None else _OWN

    height, width = config.image_size
    mean, std = ([*value] if isinstance(value, tuple) else f"{value:g}" for value in config.scaling)
    scaling = source("scaling")
    if scaling == _OWN:
        scaling = f"as the published network expects: {unsaid}; --scaling says otherwise"
    return {"image_size": f"{height} x {width} pixels, {source('image_size')}",
            "scaling": f"(pixel - {mean}) / {std}, {scaling}"}  # fmt: skip
