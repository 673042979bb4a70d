"""Where runs are kept: the tracking address, one client for it, experiments, and errors that a user can act on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from litemill.errors import LitemillError, first_line
from litemill.process import locks
from litemill.redact import redact, redact_value

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACKING_URI = "MLFLOW_TRACKING_URI"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
SQLITE = "sqlite:///"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Defaults set before MLflow is imported: nothing phones home; a request is tried five times, 0, 2, 4 and 8 seconds
apart, so that a server that is restarted is waited for, a dead one noticed in seconds, one that hangs in minutes."""

STORE_PACKAGES = frozenset({"mlflow", "requests", "urllib3", "sqlalchemy", "sqlite3", "google", "botocore"})
"""Packages whose exceptions say that the store cannot be used."""
OPENS_AS = ("mlflow.experimentKind", "custom_model_development")
"""Tag by which MLflow opens an experiment as the training of models, and not as an application with an LLM."""
LONGEST_WAIT = 300.0
"""Seconds to wait for another process that makes, upgrades or writes to the database."""
MAX_IN_BATCH, MAX_METRICS = 100, 1000
MAX_PARAM, MAX_TAG = 6000, 8000


class StoreError(LitemillError):
    """MLflow's store cannot be used: it does not answer, is too slow, refuses, or does not hold what was asked for."""


def tracking_uri() -> str:
    """The store: MLFLOW_TRACKING_URI where it is set, else `mlflow.db` (sqlite) in the current folder."""
    return os.environ.get(TRACKING_URI, "").strip() or f"{SQLITE}{Path.cwd() / DATABASE}"


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where an experiment of a sqlite store keeps its files: beside the database, whatever the current folder is later.

    A server decides for itself: None.
    """
    if not uri.startswith(SQLITE):
        return None
    database = Path(uri.removeprefix(SQLITE).partition("?")[0])
    return (database.absolute().parent / ARTIFACTS / experiment).as_uri()


def import_mlflow() -> None:
    """Import MLflow, quiet, with all that a client of this store loads when it is first used.

    A process that others are forked from calls it once for them; it opens nothing.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    kind = "sqlalchemy_store" if tracking_uri().startswith(SQLITE) else "rest_store"
    import_module(f"{mlflow.__name__}.store.tracking.{kind}")


@cache
def _client(uri: str) -> MlflowClient:
    import_mlflow()
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    if not uri.startswith(SQLITE):
        return MlflowClient(tracking_uri=uri)
    database = Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(database.parent, os.W_OK):
        return MlflowClient(tracking_uri=uri)
    # MLflow makes its tables when it first opens a file, and two processes must not make them at once.
    with locks.held(database.name, LONGEST_WAIT, folder=database.parent):
        client = MlflowClient(tracking_uri=f"{uri}{'&' if '?' in uri else '?'}timeout={LONGEST_WAIT:g}")
        client.search_experiments(max_results=1)
    return client


@contextmanager
def store_errors(doing: str) -> Iterator[MlflowClient]:
    """Yield the client of the store; what goes wrong inside becomes one error, without credentials.

    Args:
        doing: What is being tried, as in "cannot …".

    Raises:
        StoreError: The store is unreachable, refuses, or does not hold what was asked for.
    """
    uri = tracking_uri()
    try:
        yield _client(uri)
    except LitemillError:
        raise
    except Exception as error:
        if not _is_from_store(error):
            raise
        local = uri.startswith(SQLITE)
        fix = (
            "Check that the folder can be written and the file is an MLflow database"
            if local
            else f"Check {TRACKING_URI} and that the server runs; without it runs go to ./{DATABASE}"
        )
        message = first_line(redact(str(error)) or type(error).__name__).rstrip(".")
        raise StoreError(f"cannot {doing}: {message}", where=f"MLflow at {redact(uri)}", fix=fix) from None


def _is_from_store(error: Exception) -> bool:
    """Whether an error comes from MLflow, its HTTP client, its database or where it keeps files."""
    origin = type(error).__module__.partition(".")[0]
    return origin in STORE_PACKAGES or isinstance(error, ConnectionError | TimeoutError)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment of that name, created when there is none.

    Raises:
        LitemillError: The experiment is in MLflow's trash.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            place = artifact_location(tracking_uri(), name)
            return str(client.create_experiment(name, artifact_location=place, tags=dict([OPENS_AS])))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another run was faster
    if found is None or found.lifecycle_stage == "deleted":
        raise LitemillError(
            f"the experiment {name!r} is deleted",
            where=f"MLflow at {redact(tracking_uri())}",
            fix="Restore it (mlflow experiments restore) or give the config another name",
        )
    if OPENS_AS[0] not in found.tags:
        client.set_experiment_tag(found.experiment_id, *OPENS_AS)
    return str(found.experiment_id)


def write(
    client: MlflowClient,
    run_id: str,
    *,
    params: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log to a run in as few requests as MLflow's limits allow; secrets hidden, over-long values cut."""
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    left_params = [Param(name, redact_value(name, value)[:MAX_PARAM]) for name, value in (params or {}).items()]
    left_tags = [RunTag(name, redact_value(name, value)[:MAX_TAG]) for name, value in (tags or {}).items()]
    left_metrics = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
    while left_params or left_tags or left_metrics:
        room = MAX_METRICS - MAX_IN_BATCH * 2
        client.log_batch(
            run_id,
            metrics=left_metrics[:room],
            params=left_params[:MAX_IN_BATCH],
            tags=left_tags[:MAX_IN_BATCH],
        )
        left_params, left_tags = left_params[MAX_IN_BATCH:], left_tags[MAX_IN_BATCH:]
        left_metrics = left_metrics[room:]
