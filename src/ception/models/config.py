"""All that a network is built from but its weights: frozen, checked, plain in JSON both ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from ception.errors import InputError, nearest
from ception.models.catalog import MODELS, PORTS, Spec, find, require_size
from ception.models.sizes import count, factor, height_and_width, share
from ception.models.tables import xception

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scaling = tuple[float | tuple[float, ...], float | tuple[float, ...]]
TO_ONE: Scaling = (127.5, 127.5)  # pixels 0..255 to -1..1
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # 255 x (0.485, 0.456, 0.406)
IMAGENET_STD = (58.395, 57.12, 57.375)  # 255 x (0.229, 0.224, 0.225)
SCALINGS: Mapping[str, Scaling] = {
    "inception": TO_ONE, "unit": (0.0, 255.0), "imagenet": (IMAGENET_MEAN, IMAGENET_STD), "none": (0.0, 1.0),
}  # fmt: skip


class NetworkOptions(TypedDict, total=False):
    """What `NetworkConfig.of` takes beside the name; None means the architecture's own."""

    classes: int | None
    image_size: int | Sequence[int] | None
    channels: int | None
    dropout: float | None
    scaling: Sequence[Any] | None
    depth_multiplier: float
    min_depth: int | None
    every: Mapping[str, Any] | None
    final_endpoint: str | None
    port: str | None


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A network without its weights; `of` makes and checks one.

    Attributes:
        name: A key of `MODELS`.
        classes: Number of logits; None ends the network, at `final_endpoint`, without a head.
        image_size: (height, width) in pixels.
        channels: Input channels.
        dropout: Share of hidden units that dropout hides in training, 0 <= rate < 1.
        scaling: (mean, std) of the pixels 0..255; the network computes with (pixel - mean) / std. Each is a number or
            one for each channel.
        depth_multiplier: Factor of every number of filters, above 0.
        min_depth: Least number of filters, whatever the factor; None means 16, Slim's, where there is a factor.
        every: Columns of the network's table that are changed in every row.
        final_endpoint: Endpoint, by any of its names, that the network ends at; None means the logits.
        port: Whose rules the network follows where ports of it differ, a key of `PORTS[name]`; None means the
            publication's.
    """

    name: str
    classes: int | None
    image_size: tuple[int, int]
    channels: int
    dropout: float
    scaling: Scaling = TO_ONE
    depth_multiplier: float = 1.0
    min_depth: int | None = None
    every: Mapping[str, Any] = field(default_factory=dict)
    final_endpoint: str | None = None
    port: str | None = None

    @classmethod
    def of(cls, name: str, **options: Unpack[NetworkOptions]) -> NetworkConfig:
        """The config of a network with the architecture's own values where an option is None or not given.

        Args:
            name: A key of `MODELS`.
            options: Fields of `NetworkOptions`.

        Raises:
            InputError: an unknown name or option, or a value that the network cannot have.
        """
        require_options(options)
        architecture = find(name)
        given: Mapping[str, Any] = {option: value for option, value in options.items() if value is not None}
        if not isinstance(given.get("every", {}), Mapping):
            raise InputError(f"every must be columns by name, got {given['every']!r}")
        end = given.get("final_endpoint")
        classes = given.get("classes", architecture.classes if end is None else None)
        config = cls(
            name=name,
            classes=None if classes is None else count("classes", classes),
            image_size=height_and_width(given.get("image_size", architecture.image_size)),
            channels=count("channels", given.get("channels", architecture.channels)),
            dropout=share("dropout", given.get("dropout", architecture.dropout)),
            scaling=_plain_scaling(given.get("scaling", TO_ONE)),
            depth_multiplier=factor("depth_multiplier", given.get("depth_multiplier", 1.0)),
            min_depth=None if "min_depth" not in given else count("min_depth", given["min_depth"]),
            every={column: tuple(value) if isinstance(value, list) else value
                   for column, value in given.get("every", {}).items()},
            final_endpoint=None if end is None else str(end),
            port=given.get("port"),
        )  # fmt: skip
        require_size(name, *config.image_size)
        config.mean_and_std()
        config.table()
        return config

    def but(self, **options: Unpack[NetworkOptions]) -> NetworkConfig:
        """The config with some options changed; None means the architecture's own.

        Raises:
            InputError: as for `of`.
        """
        return NetworkConfig.of(**{**self.as_dict(), **options})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `of` takes them."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {
            "image_size": list(self.image_size),
            "scaling": [list(value) if isinstance(value, tuple) else value for value in self.scaling],
            "every": {name: list(value) if isinstance(value, tuple) else value for name, value in self.every.items()},
        }

    def mean_and_std(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the pixels: both a number, or both one for each channel.

        Raises:
            InputError: they do not fit the channels.
        """
        mean, std = (np.asarray(value, np.float64) for value in self.scaling)
        if self.channels == 1 and mean.ndim and mean.size and std.size:  # a grey picture is the mean of its colours
            mean, std = mean.mean(), std.mean()
        elif (
            mean.shape == std.shape == (3,) != (self.channels,)
        ):  # more channels take the colours' in turn, as kernels do
            mean, std = mean[np.arange(self.channels) % 3], std[np.arange(self.channels) % 3]
        if not {mean.shape, std.shape} <= {(), (self.channels,)}:
            given = tuple(list(value) if isinstance(value, tuple) else value for value in self.scaling)
            raise InputError(f"scaling must be numbers, or one for each of {self.channels} channels; got {given!r}")
        if not (std > 0).all():
            raise InputError(f"the std of the scaling must be above 0, got {std.tolist()}")
        if not np.isfinite([mean.sum(), std.sum()]).all():
            raise InputError(f"the scaling must be finite, got {mean.tolist()} and {std.tolist()}")
        mean, std = np.broadcast_arrays(mean, std)
        return mean, std

    def table(self) -> Spec:
        """The architecture's table with what this config changes in it.

        Raises:
            InputError: it has no such columns or port.
        """
        table = _with_columns(self.name, self.every) if self.every else find(self.name).spec
        if self.port is not None:
            known = PORTS.get(self.name, {})
            if self.port not in known:
                raise InputError(f"unknown port '{self.port}' of {self.name}: {nearest(self.port, known)}")
            table = replace(table, **known[self.port])
        if self.depth_multiplier != 1 or self.min_depth is not None:
            table = table.scaled(self.depth_multiplier, 16 if self.min_depth is None else self.min_depth)
        return table


def require_options(options: Iterable[str], beside: Iterable[str] = ()) -> None:
    """Raise an InputError if one of these is no option of a network.

    Args:
        options: Names that were given.
        beside: Further keywords of the function that they were given to, which may have been meant.
    """
    known = [*NetworkOptions.__annotations__, *beside]
    for option in options:
        if option not in NetworkOptions.__annotations__:
            raise InputError(f"a network has no option '{option}': {nearest(option, known)}")


def _plain_scaling(given: Any) -> Scaling:
    """A pair of numbers, or of one for each channel, from arrays and lists of them."""
    try:
        mean, std = (np.asarray(value, np.float64) for value in given)
    except (TypeError, ValueError):
        raise InputError(f"scaling must be (mean, std), got {given!r}") from None
    one, other = (tuple(map(float, value)) if value.ndim == 1 else value for value in (mean, std))
    if any(isinstance(value, np.ndarray) and value.ndim for value in (one, other)):
        raise InputError(f"scaling must be (mean, std), got {given!r}")
    return tuple(value if isinstance(value, tuple) else float(value) for value in (one, other))  # type: ignore[return-value]


def _with_columns(name: str, columns: Mapping[str, Any]) -> Spec:
    """The network's table with some columns changed in every row."""
    spec = find(name).spec
    if not isinstance(spec, xception.Spec):
        having = ", ".join(other for other, entry in MODELS.items() if isinstance(entry.spec, xception.Spec))
        raise InputError(f"{name} has no columns that `every` could change (known: those of {having})")
    known = [column.name for column in fields(xception.Row)]
    for column in columns:
        if column not in known:
            raise InputError(f"unknown column '{column}' of {name}: {nearest(column, known)}")
        if not _ALLOWED[column](columns[column]):
            raise InputError(
                f"{column} of {name} cannot be {columns[column]!r}: see ception.models.tables.xception.Row"
            )
    return spec.every(**columns)


def columns_of(texts: Sequence[str]) -> dict[str, Any]:
    """Columns to change, from texts such as `inner=elu`, `shortcut=none` or `segments=4`.

    Raises:
        InputError: a text has no equals sign.
    """
    words = {"none": None, "true": True, "false": False}
    columns = {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"'{text}' must be COLUMN=VALUE, such as inner=elu, shortcut=none or segments=4")
        columns[column.replace("-", "_")] = int(value) if value.isdigit() else words.get(value.lower(), value)
    return columns


def scaling_of(text: str) -> Scaling:
    """A scaling from its name, or from two numbers such as `127.5,127.5`.

    Raises:
        InputError: it is neither.
    """
    if text in SCALINGS:
        return SCALINGS[text]
    try:
        mean, std = map(float, text.split(","))
    except ValueError:
        raise InputError(
            f"--scaling must be MEAN,STD of the pixels, or one of {', '.join(SCALINGS)}, got '{text}'"
        ) from None
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise InputError(f"--scaling must be MEAN,STD with an STD above 0, got '{text}'")
    return mean, std


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
