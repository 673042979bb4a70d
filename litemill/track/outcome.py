"""How a run ended, in words, with its links: what those who are told want to know."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import RESULTS
from litemill.config.notify import Event
from litemill.errors import LitemillError
from litemill.redact import redact
from litemill.select.results import Results
from litemill.track.pages import headline
from litemill.track.register import PROMOTED, PROMOTION, REGISTERED
from litemill.track.runs import KFP_URL, parent_of
from litemill.track.spool import here
from litemill.track.store import store_errors, tracking_uri

RELEASED = "litemill.release"


class Outcome(BaseModel):
    """How a run ended."""

    name: str
    state: str = Field(description="Kubeflow's final state: SUCCEEDED, FAILED or CANCELLED")
    error: str = ""
    winner: str = ""
    compared: bool = Field(False, description="whether the variants were compared")
    reason: str = Field("", description="why the winner won, or why there is none")
    promoted: bool = Field(False, description="whether the registry's champion is this run's winner now")
    registered: str = Field("", description="address of the version that the winner is in the registry")
    promotion: str = Field("", description="why the champion moved, or why it did not")
    release: str = ""
    figures: dict[str, float] = Field(default_factory=dict, description="of the winner, float32 and the champion")
    links: dict[str, str] = Field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        """What happened, in the words of `notify.on`."""
        found: list[Event] = [] if self.state.upper() == "SUCCEEDED" and not self.error else ["failure"]
        if self.compared:
            found.append("winner" if self.winner else "no_winner")
        return [*found, "promotion"] if self.promoted else found

    @property
    def title(self) -> str:
        """The verdict in one line."""
        if self.winner:
            verdict = f"ship {self.winner}"
        else:
            verdict = "no variant meets the budget" if self.compared else "the run did not finish"
        failed = " (with failures)" if "failure" in self.events and self.compared else ""
        return f"{self.name}: {verdict}{failed}"

    @property
    def lines(self) -> list[str]:
        """What there is to say besides, a sentence each."""
        told = [self.error and f"Error: {self.error}", self.reason, self.difference]
        if self.registered:
            now = "is the champion" if self.promoted else "is not the champion"
            told.append(f"{self.registered} {now}: {self.promotion}")
        told.append(self.release and f"Released: {self.release}")
        return [" ".join(line.split()) for line in told if line]

    @property
    def difference(self) -> str:
        """The winner beside the champion, or beside float32 where there is no champion."""
        against = "champion" if "champion/accuracy" in self.figures else "float32"
        parts = []
        for key, unit in (("accuracy", ""), ("size_bytes", " bytes")):
            own, other = self.figures.get(f"winner/{key}"), self.figures.get(f"{against}/{key}")
            if own is not None and other is not None:
                written = f"{own:,.0f}" if unit else f"{own:.4f}"
                change = f"{own - other:+,.0f}" if unit else f"{own - other:+.4f}"
                parts.append(f"{key.partition('_')[0]} {written}{unit} ({change})")
        return f"Against the {against}: {', '.join(parts)}" if parts else ""


def outcome_of(name: str, pipeline_run_id: str, state: str, error: str = "") -> Outcome:
    """How a run ended, from what MLflow or, where that is down, the run's own folder knows of it.

    Args:
        name: Experiment.
        pipeline_run_id: What the pipeline's runner calls this run.
        state: Kubeflow's final state.
        error: Why it did not finish well.

    Raises:
        LitemillError: MLflow cannot be used.
    """
    outcome = Outcome(name=name, state=state, error=redact(error))
    spool = here()
    if spool and spool.offline:
        results = spool.folder / RESULTS
        outcome.error = outcome.error or spool.offline
        return _with_results(outcome, results) if results.is_file() else outcome
    with store_errors("tell how a run ended") as client, tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        run_id = parent_of(client, name, pipeline_run_id)
        if not run_id:
            return outcome
        run = client.get_run(run_id)
        tags = run.data.tags
        outcome.links = _links(run, tags)
        outcome.registered, outcome.promotion = tags.get(REGISTERED, ""), tags.get(PROMOTION, "")
        outcome.promoted = tags.get(PROMOTED) == "true"
        outcome.release = tags.get(RELEASED, "")
        if any(item.path == RESULTS for item in client.list_artifacts(run_id)):
            return _with_results(outcome, Path(client.download_artifacts(run_id, RESULTS, scratch)))
    return outcome


def _with_results(outcome: Outcome, file: Path) -> Outcome:
    try:
        results = read_manifest(file, Results)
    except LitemillError:
        return outcome
    outcome.compared, outcome.winner, outcome.reason = True, results.winner, results.reason
    outcome.figures = headline(results)
    return outcome


def _links(run: Any, tags: dict[str, str]) -> dict[str, str]:
    """Addresses of the run's pages, those that a browser can open."""
    found = {}
    server = redact(tracking_uri()).rstrip("/")
    if server.startswith(("http://", "https://")):
        # Without this MLflow opens the page as that of an application with an LLM.
        page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
        found["MLflow"] = f"{server}/{page}"
    if address := tags.get(KFP_URL):
        found["Kubeflow"] = address
    return found
