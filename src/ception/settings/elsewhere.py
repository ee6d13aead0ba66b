"""The options of what uses a trained model elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ception.settings.shared import Backend as Backend  # of the bases' fields, whose types are looked up here
from ception.settings.shared import BackendSettings, CacheSettings, EngineSettings, Precision
from ception.settings.shared import Dtype as Dtype  # of the bases' fields, whose types are looked up here
from ception.settings.shared import EngineName as EngineName  # of the bases' fields, whose types are looked up here


@dataclass(frozen=True, kw_only=True)
class ExportSettings(BackendSettings, CacheSettings):
    """How to write a model for other runtimes, and how it is compared with the model.

    Attributes:
        out: File to write, of openvino the .xml beside which a .bin lies, of saved-model and huggingface a folder;
            named after the model when not given.
        dtype: Numbers that it computes with: float32, float16, bfloat16 or int8; not every format has each.
        data: Pictures to compare on, a data set or a folder of pictures; the test pictures that the model was trained
            with when not given.
        pictures: How many of them at most.
        calibrate: Pictures that int8 takes its ranges from, a data set or a folder of pictures; the model's training
            pictures when not given.
        max_disagreement: Share of pictures, 0..1, that may get another label than in Keras, above which nothing is
            left: 0 for float32, 0.005 for float16 and bfloat16, 0.01 for int8 when not given.
        min_confidence: Probability, 0..1, below which the exported model's answer is `unknown`.
    """

    out: Path | None = None
    dtype: Precision = "float32"
    data: str | None = None
    pictures: int = 256
    calibrate: str | None = None
    max_disagreement: float | None = None
    min_confidence: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ServeSettings(EngineSettings):
    """How to answer requests over HTTP.

    Attributes:
        host: Address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 all that reach it.
        port: Port to listen on; 0 takes a free one.
        token_file: File with a token that requests have to bear, as Authorization: Bearer TOKEN.
        min_confidence: Probability, 0..1, below which an answer is `unknown`; an export's own, else 0, when not given.
        batch_size: Pictures that are computed at once at most.
        neighbours: Show small copies of the training pictures that are most like a picture, where there is an index of
            them beside the model.
        max_bytes: Largest body of a request, in MB.
        max_pixels: Largest picture, in millions of pixels.
        max_pictures: Most pictures in a request.
        max_requests: Most requests at work; more are asked to come again.
        max_memory: MB that bodies and pictures of all requests may take together; more are asked to come again.
        timeout: Seconds that a body may take to come, and its answer to be computed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    min_confidence: float | None = None
    batch_size: int = 16
    neighbours: bool = True
    max_bytes: float = 32.0
    max_pixels: float = 64.0
    max_pictures: int = 64
    max_requests: int = 128
    max_memory: float = 1000.0
    timeout: float = 30.0
