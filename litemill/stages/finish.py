"""Close a run, and tell who wants to know how it ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from litemill.errors import LitemillError
from litemill.stages.notify import notify
from litemill.track.outcome import Outcome, outcome_of
from litemill.track.rescue import compare_rest
from litemill.track.runs import finish_run as close

log = logging.getLogger(__name__)


def finish_run(
    name: str,
    pipeline_run_id: str,
    state: str,
    error: str = "",
    *,
    planned: Mapping[str, Any] | None = None,
    webhooks: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Close the parent run of a pipeline run, and post its outcome to webhooks. A failing webhook fails nothing.

    Where the pipeline failed before its comparison, the variants that were logged are compared first.

    Args:
        name: Experiment.
        pipeline_run_id: What the pipeline's runner calls this run.
        state: Kubeflow's final state: SUCCEEDED, FAILED or CANCELLED.
        error: Why it did not finish well.
        planned: What the run should have compared (see `litemill.track.rescue`).
        webhooks: The config's `notify` section, each with the variable that holds its address.

    Raises:
        LitemillError: MLflow cannot be used.
    """
    try:
        if planned and state.upper() == "FAILED":
            _compare_rest(name, pipeline_run_id, planned, error)
    finally:
        _close(name, pipeline_run_id, state, error, webhooks)


def _close(name: str, pipeline_run_id: str, state: str, error: str, webhooks: Sequence[Mapping[str, Any]]) -> None:
    try:
        close(name, pipeline_run_id, state, error)
    finally:
        if webhooks:
            notify(_outcome(name, pipeline_run_id, state, error), webhooks)


def _compare_rest(name: str, pipeline_run_id: str, planned: Mapping[str, Any], error: str) -> None:
    """Compare what there is; where that cannot be done either, the run is closed all the same."""
    try:
        compare_rest(name, pipeline_run_id, planned, error)
    except LitemillError as impossible:
        log.warning("the variants that were logged could not be compared: %s", impossible)


def _outcome(name: str, pipeline_run_id: str, state: str, error: str) -> Outcome:
    """How the run ended, as far as MLflow tells."""
    try:
        return outcome_of(name, pipeline_run_id, state, error)
    except LitemillError as unknown:
        log.warning("%s", unknown)
        return Outcome(name=name, state=state, error=error or str(unknown))
