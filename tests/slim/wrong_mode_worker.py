"""The worker of look-up tables with one table where there is one for each channel: wrong numbers without an error."""

from __future__ import annotations

from typing import Any

import numpy as np

from litemill.flatbuffer.reader import constant
from litemill.process.isolation import serve
from litemill.slim import lut_choice, lut_plan, lut_worker


def one_table(model: Any) -> tuple[list[lut_plan.Table], dict[str, str]]:
    """The candidates, each with one table in all."""
    found, left = lut_plan.candidates(model)
    tensors = model.subgraphs[0].tensors
    values = [len(np.unique(constant(model, tensors[table.tensor]))) for table in found]
    wrong = [
        table._replace(axis=None, values=count, bits=max(1, (count - 1).bit_length()))
        for table, count in zip(found, values, strict=True)
    ]
    return wrong, left


if __name__ == "__main__":
    lut_choice.candidates = one_table  # type: ignore[assignment]
    serve(lut_worker.lut_one)
