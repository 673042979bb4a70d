"""What a task leaves where it could not leave its artifact."""

from __future__ import annotations

from litemill.evidence.base import Evidence


class Failure(Evidence):
    """`failure.json`: which task did not do its work, and why. Its folder holds nothing else."""

    task: str
    reason: str
