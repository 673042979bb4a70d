"""What the doctor found, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from litemill.evidence.base import Evidence
from litemill.report.wording import markdown


class Finding(BaseModel):
    """One thing to know before a run: `error` will make it useless, `warning` may, `ok` was checked and is right."""

    level: Literal["ok", "warning", "error"]
    what: str
    fix: str = ""


class LayerDiagnosis(BaseModel):
    """A layer, and for each kind of train-aware step the reason it leaves the layer alone; empty where it takes it."""

    name: str
    type: str
    parameters: int
    prune: str = ""
    cluster: str = ""
    qat: str = ""


class Diagnosis(Evidence):
    """All that was found."""

    findings: list[Finding] = Field(default_factory=list)
    layers: list[LayerDiagnosis] = Field(default_factory=list)
    recipes: dict[str, str] = Field(default_factory=dict, description="reason it will fail; empty where it should work")


def to_markdown(diagnosis: Diagnosis) -> str:
    """The diagnosis as Markdown: findings, recipes, layers."""
    lines = ["# Diagnosis", ""]
    for finding in diagnosis.findings:
        lines.append(
            f"- **{finding.level}**: {markdown(finding.what)}" + (f". {markdown(finding.fix)}" if finding.fix else "")
        )
    lines += ["", "| recipe | |", "|---|---|"]
    lines += [
        f"| {markdown(name)} | {markdown(reason or 'should work')} |" for name, reason in diagnosis.recipes.items()
    ]
    if diagnosis.layers:
        lines += ["", "| layer | type | parameters | prune | cluster | qat |", "|---|---|--:|---|---|---|"]
    for layer in diagnosis.layers:
        cells = [markdown(cell or "yes") for cell in (layer.prune, layer.cluster, layer.qat)]
        lines.append(f"| {markdown(layer.name)} | {markdown(layer.type)} | {layer.parameters} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
