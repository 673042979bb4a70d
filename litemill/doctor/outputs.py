"""Do the model's outputs fit the targets, and are they right?"""

from __future__ import annotations

import numpy as np

from litemill.config.run import DataSpec
from litemill.data.preprocess import model_inputs
from litemill.data.source import Source, SourceFacts
from litemill.doctor.findings import Finding
from litemill.doctor.scaling import examine_scaling, measure_of
from litemill.models.ending import settled
from litemill.models.source import LoadedModel
from litemill.tasks import decisions, task_of

SAMPLES = 32


def examine_outputs(
    data: Source, spec: DataSpec, facts: SourceFacts, model: LoadedModel, *, only_configured: bool = False
) -> list[Finding]:
    """Compare outputs for a few real samples with the targets, and look for the right preprocessing.

    Args:
        data: The data, raw.
        spec: The data section.
        facts: What is known of the data.
        model: The loaded model.
        only_configured: Try no other preprocessing than the configured one.

    Raises:
        InputError: `data.output_is` says something else than the model.
    """
    test, task = data.splits["test"], task_of(spec.task)
    rows = np.unique(np.linspace(0, len(test) - 1, SAMPLES).astype(np.int64))
    outputs = model.predict(model_inputs(np.concatenate(list(test.read(rows))), spec))
    if obstacle := task.obstacle(outputs.shape[1:], facts.reading):
        return [Finding(level="error", what=f"the model {obstacle}", fix=task.wants)]
    if task.decide is None:
        return []
    where = str(model.facts.path)
    output_is = settled(spec.output_is, model.output_is, outputs, where) if task.labelled else ""
    decide = decisions(task.name, output_is, spec.boxes)
    if decide is None:
        return []
    measure = measure_of(decide, facts.reading)
    return examine_scaling(data, spec, model.predict, measure, only_configured=only_configured)
