"""What was found out: manifests and evidence as data, the contract between steps (JSON in and out).

Fields are added, never renamed: files written by an older version stay readable.
"""

from litemill.evidence.base import Estimate, Evidence, Status, TensorInfo, Verdict
from litemill.evidence.champion import CHAMPION, ChampionVersion
from litemill.evidence.failure import Failure
from litemill.evidence.graph import Delegation, GraphReport, LayerProof, WeightInfo
from litemill.evidence.interface import Interface
from litemill.evidence.outcome import Evaluation, Measurement, Parity
from litemill.evidence.proof import ClassDrop, Family, Proof
from litemill.evidence.sources import DatasetManifest, ModelManifest, SplitInfo, StepRecord
from litemill.evidence.training import (
    SPARSITY_TOLERANCE,
    ClusterFindings,
    FinetuneFindings,
    KernelFindings,
    LayerFindings,
    PruneFindings,
    QatFindings,
    StepFindings,
    TrainingFindings,
)
from litemill.evidence.variant import CalibrationReport, LayerSensitivity, SlimReport, VariantManifest, VariantParity

__all__ = [
    "CHAMPION",
    "SPARSITY_TOLERANCE",
    "CalibrationReport",
    "ChampionVersion",
    "ClassDrop",
    "ClusterFindings",
    "DatasetManifest",
    "Delegation",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Failure",
    "Family",
    "FinetuneFindings",
    "GraphReport",
    "Interface",
    "KernelFindings",
    "LayerFindings",
    "LayerProof",
    "LayerSensitivity",
    "Measurement",
    "ModelManifest",
    "Parity",
    "Proof",
    "PruneFindings",
    "QatFindings",
    "SlimReport",
    "SplitInfo",
    "Status",
    "StepFindings",
    "StepRecord",
    "TensorInfo",
    "TrainingFindings",
    "VariantManifest",
    "VariantParity",
    "Verdict",
    "WeightInfo",
]
