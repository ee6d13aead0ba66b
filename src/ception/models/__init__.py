"""What a network is: `MODELS` lists them, a `NetworkConfig` says which one, `build_network` makes it."""

from __future__ import annotations

from ception.models.catalog import MODELS as MODELS
from ception.models.catalog import PORTS as PORTS
from ception.models.config import NetworkConfig as NetworkConfig
