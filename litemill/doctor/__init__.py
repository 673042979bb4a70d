"""The doctor: what will and will not work, found before any training."""

from litemill.doctor.diagnose import diagnose
from litemill.doctor.findings import Diagnosis, Finding, LayerDiagnosis, to_markdown

__all__ = ["Diagnosis", "Finding", "LayerDiagnosis", "diagnose", "to_markdown"]
