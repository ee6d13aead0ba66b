"""Every option of every task, once: name, default, unit and help. Flags, saved records and docs derive from here.

So do the typed keywords of `ception.options`: after a change, run `python tools/write_options.py`.
"""

from __future__ import annotations

from ception.settings.datasets import CheckSettings as CheckSettings
from ception.settings.datasets import ShardSettings as ShardSettings
from ception.settings.elsewhere import ExportSettings as ExportSettings
from ception.settings.elsewhere import ServeSettings as ServeSettings
from ception.settings.networks import BenchSettings as BenchSettings
from ception.settings.networks import ConvertSettings as ConvertSettings
from ception.settings.networks import SummarySettings as SummarySettings
from ception.settings.scoring import CompareSettings as CompareSettings
from ception.settings.scoring import EvaluateSettings as EvaluateSettings
from ception.settings.scoring import ExplainSettings as ExplainSettings
from ception.settings.scoring import JobSettings as JobSettings
from ception.settings.scoring import PredictSettings as PredictSettings
from ception.settings.shared import Backend as Backend
from ception.settings.shared import BackendSettings as BackendSettings
from ception.settings.shared import BatchNorm as BatchNorm
from ception.settings.shared import CacheSettings as CacheSettings
from ception.settings.shared import ClusterSettings as ClusterSettings
from ception.settings.shared import DeviceSettings as DeviceSettings
from ception.settings.shared import Dtype as Dtype
from ception.settings.shared import EngineName as EngineName
from ception.settings.shared import EngineSettings as EngineSettings
from ception.settings.shared import ExplainMethod as ExplainMethod
from ception.settings.shared import Precision as Precision
from ception.settings.shared import Resize as Resize
from ception.settings.shared import Split as Split
from ception.settings.shared import TableFormat as TableFormat
from ception.settings.training import TRAIN_GROUPS as TRAIN_GROUPS
from ception.settings.training import TrainSettings as TrainSettings
from ception.settings.training import TuneSettings as TuneSettings
