"""What became of weights that were converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ception.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Certificate(Result):
    """What a conversion of weights did, and how far the network is from the original's code with the same weights.

    Attributes:
        source: The weight file, or the name of published weights.
        sha256: The file's digest.
        model: The network.
        scheme: Whose names the tensors had.
        matched: Number of tensors that were filled.
        missing: Ours that the file does not have.
        unused: The file's that the network has none for.
        adapted: Ours that were changed to fit, with how.
        taken: What size, scaling, head and tensors were taken, and whether the file says so or they were given by hand.
        original: The code that it was compared with, with its version; None where it was not compared.
        filled_by: Who put the weights into the original.
        endpoints: The largest difference relative to the largest value, by endpoint.
        logits: The same of the logits; None where they were not compared.
        note: Why it was not compared; None where it was.
        out: The model file.
    """

    _OMITTED = frozenset({"note"})

    source: str
    sha256: str
    model: str
    scheme: str
    matched: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    adapted: Mapping[str, str]
    taken: Mapping[str, str] = field(default_factory=dict)
    original: str | None = None
    filled_by: str | None = None
    endpoints: Mapping[str, float] = field(default_factory=dict)
    logits: float | None = None
    note: str | None = None
    out: str

    def __repr__(self) -> str:
        compared = "not compared"
        if self.original:
            worst = max((*self.endpoints.values(), self.logits or 0.0))
            compared = f"within {worst:.1e} of {self.original}"
        return f"Certificate({self.out}: {self.matched} tensors, {len(self.missing)} missing, {compared})"


@dataclass(frozen=True, kw_only=True)
class PixelScaling(Result):
    """How pixels 0..255 are scaled: times `scale` plus `offset`, numbers or one for each channel."""

    scale: float | Sequence[float]
    offset: float | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ExportedWeights(Result):
    """Weights written for another library.

    Attributes:
        out: The file.
        to: The library.
        tensors: Number of tensors.
        use: The line of Python that loads them there.
        scaling: What pixels are scaled by before, for it is not inside there.
    """

    out: str
    to: str
    tensors: int
    use: str
    scaling: PixelScaling
