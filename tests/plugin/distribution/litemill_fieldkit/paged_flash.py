"""The target `paged-flash`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litemill.extend import Measurement, Subject
from litemill_fieldkit import PagedFlashSpec


class PagedFlash:
    """Counts the pages that a file takes; nothing is run."""

    def __init__(self, spec: PagedFlashSpec) -> None:
        self.page = spec.page

    def facts(self) -> dict[str, Any]:
        """What the target is."""
        return {"page_bytes": self.page}

    def measure(self, subjects: Sequence[Subject], samples: NDArray[np.float32]) -> dict[str, Measurement]:
        """A measurement of each file by its digest."""
        return {subject.sha256: self._measurement(subject) for subject in subjects}

    def _measurement(self, subject: Subject) -> Measurement:
        pages = -(-subject.size_bytes // self.page)
        return Measurement(
            recipe="",
            target="",
            kind="estimated",
            sha256=subject.sha256,
            realised_bytes=pages * self.page,
            device=self.facts(),
            details={"pages": pages},
        )
