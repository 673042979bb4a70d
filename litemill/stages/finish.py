"""Close a run, and tell who wants to know how it ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from litemill.errors import LitemillError
from litemill.stages.notify import notify
from litemill.track.outcome import Outcome, outcome_of
from litemill.track.runs import finish_run as close

log = logging.getLogger(__name__)


def finish_run(
    name: str, pipeline_run_id: str, state: str, error: str = "", *, webhooks: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Close the parent run of a pipeline run, and post its outcome to webhooks. A failing webhook fails nothing.

    Args:
        name: Experiment.
        pipeline_run_id: What the pipeline's runner calls this run.
        state: Kubeflow's final state: SUCCEEDED, FAILED or CANCELLED.
        error: Why it did not finish well.
        webhooks: The config's `notify` section, each with the variable that holds its address.

    Raises:
        LitemillError: MLflow cannot be used.
    """
    try:
        close(name, pipeline_run_id, state, error)
    finally:
        if webhooks:
            notify(_outcome(name, pipeline_run_id, state, error), webhooks)


def _outcome(name: str, pipeline_run_id: str, state: str, error: str) -> Outcome:
    """How the run ended, as far as MLflow tells."""
    try:
        return outcome_of(name, pipeline_run_id, state, error)
    except LitemillError as unknown:
        log.warning("%s", unknown)
        return Outcome(name=name, state=state, error=error or str(unknown))
