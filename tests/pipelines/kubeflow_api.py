"""A loopback Kubeflow Pipelines API for tests: real HTTP, answers built from the models of `kfp-server-api`.

It keeps what it is given, so that a test can ask what a client changed; `refuse` makes it answer an error.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api

PREFIX = "/apis/v2beta1/"


class KubeflowApi:
    """State of the server, and one method for each call it answers."""

    def __init__(self) -> None:
        self.pipelines: dict[str, api.V2beta1Pipeline] = {}
        self.versions: dict[str, api.V2beta1PipelineVersion] = {}
        self.experiments: dict[str, api.V2beta1Experiment] = {}
        self.runs: dict[str, api.V2beta1Run] = {}
        self.recurring: dict[str, api.V2beta1RecurringRun] = {}
        self.tokens: list[str] = []
        self.refuse: tuple[int, str] | None = None
        self.routes = [
            ("GET", r"healthz", lambda request: api.V2beta1GetHealthzResponse(multi_user=False)),
            ("GET", r"pipelines", self.list_pipelines),
            ("POST", r"pipelines/upload", self.upload),
            ("POST", r"pipelines/upload_version", self.upload_version),
            ("GET", r"pipelines/(?P<id>[^/]+)/versions", self.list_versions),
            ("GET", r"experiments", self.list_experiments),
            ("POST", r"experiments", self.create_experiment),
            ("POST", r"runs", self.create_run),
            ("GET", r"runs/(?P<id>[^/]+)", lambda request: self.runs[request["id"]]),
            ("GET", r"recurringruns", self.list_recurring),
            ("POST", r"recurringruns", self.create_recurring),
            ("POST", r"recurringruns/(?P<id>[^/:]+):(?P<mode>enable|disable)", self.switch_recurring),
            ("DELETE", r"recurringruns/(?P<id>[^/]+)", self.delete_recurring),
        ]

    def list_pipelines(self, request: dict[str, Any]) -> Any:
        return api.V2beta1ListPipelinesResponse(pipelines=_named(self.pipelines, request))

    def upload(self, request: dict[str, Any]) -> Any:
        made = api.V2beta1Pipeline(pipeline_id=_id(), display_name=request["name"], name=request["name"])
        self.pipelines[made.pipeline_id] = made
        self._version(made.pipeline_id, request["name"])
        return made

    def upload_version(self, request: dict[str, Any]) -> Any:
        return self._version(request["pipelineid"], request["name"])

    def _version(self, pipeline: str, name: str) -> Any:
        made = api.V2beta1PipelineVersion(pipeline_id=pipeline, pipeline_version_id=_id(), display_name=name, name=name)
        self.versions[made.pipeline_version_id] = made
        return made

    def list_versions(self, request: dict[str, Any]) -> Any:
        found = [one for one in self.versions.values() if one.pipeline_id == request["id"]]
        return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=found)

    def list_experiments(self, request: dict[str, Any]) -> Any:
        return api.V2beta1ListExperimentsResponse(experiments=_named(self.experiments, request))

    def create_experiment(self, request: dict[str, Any]) -> Any:
        made = api.V2beta1Experiment(experiment_id=_id(), display_name=request["body"]["display_name"])
        self.experiments[made.experiment_id] = made
        return made

    def create_run(self, request: dict[str, Any]) -> Any:
        body = request["body"]
        version = self.versions[body["pipeline_version_reference"]["pipeline_version_id"]]
        made = api.V2beta1Run(run_id=_id(), display_name=body["display_name"], state="PENDING")
        made.pipeline_version_reference = api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        )
        self.runs[made.run_id] = made
        return made

    def list_recurring(self, request: dict[str, Any]) -> Any:
        return api.V2beta1ListRecurringRunsResponse(recurring_runs=list(self.recurring.values()))

    def create_recurring(self, request: dict[str, Any]) -> Any:
        body = request["body"]
        cron = body["trigger"]["cron_schedule"]["cron"]
        if len(cron.split()) != 6:
            raise ApiError(400, f"Invalid cron expression {cron!r}")
        made = api.V2beta1RecurringRun(
            recurring_run_id=_id(),
            display_name=body["display_name"],
            max_concurrency=body["max_concurrency"],
            no_catchup=body.get("no_catchup"),
            mode=body["mode"],
            status="ENABLED",
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
        )
        self.recurring[made.recurring_run_id] = made
        return made

    def switch_recurring(self, request: dict[str, Any]) -> Any:
        self.recurring[request["id"]].status = "ENABLED" if request["mode"] == "enable" else "DISABLED"
        return {}

    def delete_recurring(self, request: dict[str, Any]) -> Any:
        del self.recurring[request["id"]]
        return {}

    def finish(self, run_id: str, state: str, tasks: dict[str, str]) -> None:
        """Let a run end, with its tasks in these states."""
        run = self.runs[run_id]
        run.state = state
        details = [api.V2beta1PipelineTaskDetail(display_name=name, state=ended) for name, ended in tasks.items()]
        run.run_details = api.V2beta1RunDetails(task_details=details)

    def answer(self, method: str, path: str, request: dict[str, Any]) -> Any:
        """Find the route and answer, or raise the error that was asked for."""
        if self.refuse:
            raise ApiError(*self.refuse)
        for verb, pattern, handler in self.routes:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                try:
                    return handler({**request, **match.groupdict()})
                except KeyError as error:
                    raise ApiError(404, f"not found: {error}") from error
        raise ApiError(404, f"{method} {path}")


class ApiError(Exception):
    """An error as the server answers it."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


@contextmanager
def serving() -> Iterator[tuple[str, KubeflowApi]]:
    """Serve on a free loopback port; yields the URL and the state."""
    state = KubeflowApi()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            request: dict[str, Any] = {name: values[0] for name, values in parse_qs(parts.query).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Type", "").startswith("application/json") and content:
                request["body"] = json.loads(content)
            state.tokens.append(self.headers.get("authorization", ""))
            try:
                status, body = 200, state.answer(self.command, parts.path.removeprefix(PREFIX), request)
            except ApiError as error:
                status, body = error.status, {"code": error.status, "message": error.message}
            answer = json.dumps(api.ApiClient().sanitize_for_serialization(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - names the base class looks for

        def log_message(self, *_: object) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _id() -> str:
    return str(uuid.uuid4())


def _named(kept: dict[str, Any], request: dict[str, Any]) -> list[Any]:
    """What a filter on a name selects, as the server does it."""
    predicates = json.loads(request.get("filter") or "{}").get("predicates", [])
    wanted = [one.get("stringValue") or one["string_value"] for one in predicates]
    return [one for one in kept.values() if not wanted or one.display_name in wanted]
