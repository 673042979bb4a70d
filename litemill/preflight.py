"""Look at a run's model and data before any compute: what cannot work is told now, not an hour later."""

from __future__ import annotations

from litemill.data import SourceFacts, check_source
from litemill.models import check_fit, peek
from litemill.spec import RunSpec
from litemill.storage import fetch


def preflight(spec: RunSpec) -> SourceFacts:
    """Check that the sources exist, are sound and fit each other.

    Returns:
        What is known of the data, with warnings.

    Raises:
        InputError: A source is missing or broken, or the model's input differs from the data's.
    """
    model = peek(fetch(spec.model.uri))
    data = check_source(spec.data)
    check_fit(model, data.input_shape, spec.data.uri or spec.data.kind)
    return data
