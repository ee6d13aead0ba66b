"""What tasks return: typed values, each with `as_dict()`, the plain values that `--json` writes."""

from __future__ import annotations

from ception.results.benchmarks import Benchmark as Benchmark
from ception.results.benchmarks import Measurement as Measurement
from ception.results.comparisons import Changed as Changed
from ception.results.comparisons import ClassComparison as ClassComparison
from ception.results.comparisons import Comparison as Comparison
from ception.results.conversions import Certificate as Certificate
from ception.results.conversions import ExportedWeights as ExportedWeights
from ception.results.conversions import PixelScaling as PixelScaling
from ception.results.costs import LayerCost as LayerCost
from ception.results.costs import NetworkSummary as NetworkSummary
from ception.results.costs import TrainingCost as TrainingCost
from ception.results.diagnoses import Diagnosis as Diagnosis
from ception.results.drifts import Drift as Drift
from ception.results.explanations import Evidence as Evidence
from ception.results.explanations import Explanation as Explanation
from ception.results.explanations import Neighbour as Neighbour
from ception.results.exports import ExportReport as ExportReport
from ception.results.exports import Speed as Speed
from ception.results.findings import Case as Case
from ception.results.findings import CasePicture as CasePicture
from ception.results.findings import CheckResult as CheckResult
from ception.results.findings import Finding as Finding
from ception.results.findings import Severity as Severity
from ception.results.jobs import JobResult as JobResult
from ception.results.predictions import Guess as Guess
from ception.results.predictions import Prediction as Prediction
from ception.results.result import Result as Result
from ception.results.result import plain as plain
from ception.results.runs import RunEntry as RunEntry
from ception.results.scores import Calibration as Calibration
from ception.results.scores import ClassScores as ClassScores
from ception.results.scores import Confusion as Confusion
from ception.results.scores import CoveragePoint as CoveragePoint
from ception.results.scores import GroupScores as GroupScores
from ception.results.scores import Scores as Scores
from ception.results.scores import Selective as Selective
from ception.results.scores import Slices as Slices
from ception.results.scores import Thumbnails as Thumbnails
from ception.results.sharded import ShardResult as ShardResult
from ception.results.tunings import TrialEntry as TrialEntry
from ception.results.tunings import TuneResult as TuneResult
