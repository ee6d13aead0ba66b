"""What a network costs."""

from __future__ import annotations

from dataclasses import dataclass

from ception.results.result import Result, html_table


@dataclass(frozen=True, kw_only=True)
class LayerCost(Result):
    """A layer and what it costs, for one picture.

    Attributes:
        name: Its name.
        kind: The stock Keras class that it is, or derives from.
        output_shape: (height, width, channels) or (features,).
        parameters: Number of weights and statistics.
        macs: Multiply-accumulates with the weights of convolutions and dense layers; 2 FLOPs each.
        activation_bytes: Size of its output.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int

    @property
    def block(self) -> str:
        """The block it belongs to: its name up to the first underscore."""
        return self.name.split("_")[0]


@dataclass(frozen=True, kw_only=True)
class TrainingCost(Result):
    """What a training step takes.

    Attributes:
        batch_size: Pictures in it.
        dtype: Keras dtype policy of the layers with weights; `precision` in the plain values.
        memory_bytes: Its peak with TensorFlow, the library itself not counted.
    """

    _KEYS = {"dtype": "precision"}  # noqa: RUF012

    batch_size: int
    dtype: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetworkSummary(Result):
    """What a network costs.

    Attributes:
        model: Its name.
        input_shape: (height, width, channels).
        layers: Every layer, in the network's order.
        parameters: Number of weights and statistics.
        trainable: Number of those that are trained.
        macs: Multiply-accumulates for one picture.
        activation_bytes: Size of all layers' outputs for one picture.
        training: What a training step takes.
    """

    model: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerCost, ...]
    parameters: int
    trainable: int
    macs: int
    activation_bytes: int
    training: TrainingCost

    def __repr__(self) -> str:
        size, megabytes = " x ".join(map(str, self.input_shape)), self.activation_bytes / 1e6
        return (
            f"NetworkSummary({self.model} at {size}, {len(self.layers)} layers,\n"
            f"    {self.parameters:,} parameters, {self.trainable:,} of them trained,\n"
            f"    {self.macs:,} multiply-accumulates and {megabytes:,.1f} MB of activations a picture)"
        )

    def _repr_html_(self) -> str:
        training = self.training
        rows = [
            ("layers", f"{len(self.layers):,}", "of any kind"),
            ("parameters", f"{self.parameters:,}", f"{self.trainable:,} of them trained"),
            ("multiply-accumulates", f"{self.macs:,}", "a picture"),
            ("activations", f"{self.activation_bytes / 1e6:,.1f} MB", "a picture"),
            ("training", f"{training.memory_bytes / 1e9:,.2f} GB",
             f"with batches of {training.batch_size} in {training.dtype}"),
        ]  # fmt: skip
        return html_table(f"{self.model} at {' x '.join(map(str, self.input_shape))}", rows)
