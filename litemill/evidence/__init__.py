"""What was found out: manifests and evidence as data, the contract between steps (JSON in and out).

Fields are added, never renamed: files written by an older version stay readable.
"""

from litemill.evidence.base import Estimate, Evidence, Status, TensorInfo, Verdict
from litemill.evidence.failure import Failure
from litemill.evidence.graph import Delegation, GraphReport, LayerProof, WeightInfo
from litemill.evidence.outcome import Evaluation, Measurement, Parity
from litemill.evidence.sources import DatasetManifest, ModelManifest, SplitInfo, StepRecord
from litemill.evidence.variant import CalibrationReport, LayerSensitivity, SlimReport, VariantManifest, VariantParity

__all__ = [
    "CalibrationReport",
    "DatasetManifest",
    "Delegation",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Failure",
    "GraphReport",
    "LayerProof",
    "LayerSensitivity",
    "Measurement",
    "ModelManifest",
    "Parity",
    "SlimReport",
    "SplitInfo",
    "Status",
    "StepRecord",
    "TensorInfo",
    "VariantManifest",
    "VariantParity",
    "Verdict",
    "WeightInfo",
]
