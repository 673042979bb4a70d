"""The parent run: one for each pipeline run."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from litemill import __version__
from litemill.track.pages import run_name as named
from litemill.track.spool import Finish, Start, here, tracked
from litemill.track.store import experiment_id, store_errors, write

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

RUN_ID = "MLFLOW_RUN_ID"
PARENT, NAME, NOTE, SOURCE = "mlflow.parentRunId", "mlflow.runName", "mlflow.note.content", "mlflow.source.name"
KIND, VERSION, RECIPE, STATUS = "litemill.kind", "litemill.version", "litemill.recipe", "litemill.status"
REASON, VERDICT, ATTACHED = "litemill.reason", "litemill.verdict", "litemill.attached"
PIPELINE_RUN = "litemill.pipeline_run_id"
KFP_RUN, KFP_URL = "kfp.pipeline_run_id", "kfp.pipeline_run_url"
"""Tag names of Kubeflow's own MLflow integration."""
KFP_URL_VARIABLE, ON_CLUSTER = "KFP_PIPELINE_RUN_URL", "KUBERNETES_SERVICE_HOST"
ENDS: dict[str, RunStatus] = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED", "CANCELED": "KILLED"}
"""How Kubeflow's final states are called in MLflow; every other one is FAILED."""


def start_run(
    name: str,
    params: Mapping[str, Any],
    *,
    pipeline_run_id: str,
    tags: Mapping[str, str] | None = None,
    run_name: str = "",
) -> str:
    """Open the parent run of a pipeline run, or attach to the one there is.

    Where Kubeflow's MLflow integration injected MLFLOW_RUN_ID (the run of the task), its pipeline run is the parent.
    Started again for the same pipeline run (a retried task), the first one is used.

    Args:
        name: Experiment; created when there is none.
        params: What to log, nested mappings flattened to `a.b`.
        pipeline_run_id: What the pipeline's runner calls this run.
        tags: Tags of the run.
        run_name: How MLflow lists it; MLflow makes one up when empty.

    Returns:
        The id of the MLflow run.

    Raises:
        LitemillError: The store cannot be used.
    """
    wanted = {KIND: "pipeline", VERSION: __version__, PIPELINE_RUN: pipeline_run_id} | _kfp_tags(pipeline_run_id)
    wanted |= tags or {}
    start = Start(name=name, params=dict(params), pipeline_run_id=pipeline_run_id, tags=wanted)
    if spool := here():
        spool.keep("start", start)
    run_id = tracked(lambda: open_run(start, run_name), "")
    if spool and run_id:
        spool.keep("start", start.model_copy(update={"run_id": run_id}))
    return run_id


def open_run(start: Start, run_name: str = "") -> str:
    """Open the parent run in MLflow, or find the one that was opened for the same pipeline run."""
    wanted = dict(start.tags)
    with store_errors("start a run") as client:
        if injected := os.environ.get(RUN_ID, "").strip():
            run_id = _top(client, injected)
            wanted[ATTACHED] = "true"
        else:
            experiment = experiment_id(client, start.name)
            run_id = _find(client, experiment, start.pipeline_run_id)
            if not run_id:
                # Marked as it is made: a request that is repeated for want of an answer finds the first one's run.
                marks = {SOURCE: "litemill", KIND: "pipeline", PIPELINE_RUN: start.pipeline_run_id}
                made = client.create_run(experiment, tags=marks, run_name=run_name or named(start.name))
                run_id = _only(client, experiment, start.pipeline_run_id) or str(made.info.run_id)
        write(client, run_id, params=flatten(start.params), tags=wanted)
        return run_id


def _only(client: MlflowClient, experiment: str, pipeline_run_id: str) -> str:
    """The oldest parent run of a pipeline run; others, made by a repeated request, are removed."""
    found = _all(client, experiment, pipeline_run_id)
    for extra in found[1:]:
        client.delete_run(extra)
    return found[0] if found else ""


def _kfp_tags(pipeline_run_id: str) -> dict[str, str]:
    """Tags that lead from MLflow to the Kubeflow run, as far as they are known."""
    tags = {KFP_RUN: pipeline_run_id} if os.environ.get(ON_CLUSTER) else {}
    if url := os.environ.get(KFP_URL_VARIABLE, "").strip():
        tags[KFP_URL] = url
    return tags


def _top(client: MlflowClient, run_id: str) -> str:
    """The run at the top of a tree of nested runs."""
    parent = client.get_run(run_id).data.tags.get(PARENT, "")
    return _top(client, parent) if parent else run_id


def _find(client: MlflowClient, experiment: str, pipeline_run_id: str) -> str:
    """The parent run that was started for a pipeline run, or nothing."""
    return next(iter(_all(client, experiment, pipeline_run_id)), "")


def _all(client: MlflowClient, experiment: str, pipeline_run_id: str) -> list[str]:
    """The parent runs of a pipeline run, oldest first."""
    if not pipeline_run_id or "'" in pipeline_run_id:
        return []
    where = f"tags.`{PIPELINE_RUN}` = '{pipeline_run_id}' and tags.`{KIND}` = 'pipeline'"
    found = client.search_runs([experiment], filter_string=where, order_by=["attributes.start_time ASC"])
    return [str(run.info.run_id) for run in found]


def finish_run(name: str, pipeline_run_id: str, state: str, error: str = "") -> None:
    """Close the parent run of a pipeline run, and with it those of its children that were left open.

    An exit task gets no outputs of other tasks, so the run is found by what `start_run` noted. When there is none (the
    pipeline failed before it was started) a warning is logged. A run that Litemill
    attached to is closed by the one who opened it.

    Args:
        name: Experiment.
        pipeline_run_id: What the pipeline's runner calls this run.
        state: Kubeflow's final state: SUCCEEDED, FAILED or CANCELLED.
        error: Why it did not finish well; becomes a tag and heads the description.

    Raises:
        LitemillError: The store cannot be used.
    """
    if spool := here():
        spool.keep("finish", Finish(state=state, error=error, at=time.time_ns() // 1_000_000))
    tracked(lambda: _finish(name, pipeline_run_id, state, error), None)


def _finish(name: str, pipeline_run_id: str, state: str, error: str) -> None:
    with store_errors("finish a run") as client:
        run_id = parent_of(client, name, pipeline_run_id)
        if not run_id:
            logger.warning("no MLflow run was started for pipeline run %s of %r", pipeline_run_id, name)
            return
        close_run(client, run_id, state, error)


def parent_of(client: MlflowClient, name: str, pipeline_run_id: str) -> str:
    """The parent run of a pipeline run of an experiment, by what `start_run` noted; empty where there is none."""
    injected = os.environ.get(RUN_ID, "").strip()
    known = client.get_experiment_by_name(name)
    found = _find(client, known.experiment_id, pipeline_run_id) if known else ""
    return found or (_top(client, injected) if injected else "")


def close_run(client: MlflowClient, run_id: str, state: str, error: str, at: int | None = None) -> None:
    """Close a parent run, and with it those of its children that were left open; one that is closed stays as it is.

    Args:
        client: Of the store.
        run_id: The parent run.
        state: Kubeflow's final state.
        error: Why it did not finish well.
        at: When, in milliseconds since 1970; now without it.
    """
    run, status = client.get_run(run_id), ENDS.get(state.upper(), "FAILED")
    if run.data.tags.get(STATUS) == status.lower() and run.info.status == status:
        return
    for child in children(client, run_id):
        if child.info.status == "RUNNING" and child.data.tags.get(RECIPE):
            client.set_terminated(child.info.run_id, "KILLED" if status == "KILLED" else "FAILED")
    tags = {STATUS: status.lower()}
    if status != "FINISHED":
        reason = error.strip() or "The pipeline did not finish; the logs of its tasks say why"
        described = f"**{status.capitalize()}.** {reason}\n\n{run.data.tags.get(NOTE, '')}".strip()
        tags |= {REASON: reason, NOTE: described}
    write(client, run_id, tags=tags)
    if run.data.tags.get(ATTACHED) != "true":
        client.set_terminated(run_id, status, end_time=at)


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, secrets hidden.

    Args:
        run_id: The run, from `start_run`.
        tags: Text by name; where the text is empty nothing is set.

    Raises:
        LitemillError: The store cannot be used, or there is no such run.
    """

    def write_tags() -> None:
        with store_errors(f"tag run {run_id}") as client:
            write(client, run_id, tags=tags)

    tags = {name: text for name, text in tags.items() if text}
    if spool := here():
        spool.keep_tags(dict(tags))
    tracked(write_tags, None)


def children(client: MlflowClient, run_id: str) -> list[Any]:
    """The MLflow runs below a parent run, oldest first."""
    experiment = client.get_run(run_id).info.experiment_id
    return list(
        client.search_runs(
            [experiment],
            filter_string=f"tags.`{PARENT}` = '{run_id}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
        )
    )


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `a.b: text`; lists as JSON, whole floats (Kubeflow makes 8 into 8.0) as integers."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        elif isinstance(value, float) and value.is_integer():
            flat[key] = str(int(value))
        elif isinstance(value, list | tuple):
            flat[key] = json.dumps(value, ensure_ascii=False, default=str)
        elif value is not None:
            flat[key] = str(value)
    return flat
