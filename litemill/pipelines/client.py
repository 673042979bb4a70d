"""A connection to Kubeflow Pipelines, and one clear error for each way it can fail."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from litemill.errors import ConfigError, LitemillError

TOKEN = "LITEMILL_KFP_TOKEN"  # noqa: S105 - the name of a variable
"""Variable with a bearer token for the API."""

IN_CLUSTER = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where Kubernetes projects a service account's token for Kubeflow Pipelines."""


def connect(host: str, namespace: str) -> Any:
    """Open a client and check that the API answers.

    A bearer token comes from `LITEMILL_KFP_TOKEN`, else from the service account's projected volume when inside the
    cluster; a port-forward needs neither.

    Args:
        host: URL of the API, such as http://localhost:8080.
        namespace: Kubernetes namespace of the runs.

    Raises:
        ConfigError: `host` is no URL.
        LitemillError: Unreachable, or the token is missing or refused.
    """
    if not host.startswith(("http://", "https://")):
        raise ConfigError("is no URL", where=f"--host {host}", fix="Give one such as http://localhost:8080")
    from kfp import Client
    from kfp.client import ServiceAccountTokenVolumeCredentials

    token = os.environ.get(TOKEN)
    credentials = ServiceAccountTokenVolumeCredentials() if not token and IN_CLUSTER.is_file() else None
    with api_errors(host), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_reachable(host, token, credentials)
        return Client(host=host, namespace=namespace, existing_token=token, credentials=credentials)


def _check_reachable(host: str, token: str | None, credentials: Any) -> None:
    """Ask the API whether it is there: the client itself would try five times and hide the reason."""
    import kfp_server_api as api

    configuration = api.Configuration(host=host.rstrip("/"))
    configuration.retries = False
    if token or credentials:
        configuration.api_key["authorization"] = token or "placeholder"
        configuration.api_key_prefix["authorization"] = "Bearer"
    if credentials:
        configuration.refresh_api_key_hook = credentials.refresh_api_key_hook
    api.HealthzServiceApi(api.ApiClient(configuration)).healthz_service_get_healthz()


@contextmanager
def api_errors(host: str, what: str = "") -> Iterator[None]:
    """Turn the errors of the API and of the network into one line.

    Args:
        host: URL of the API.
        what: What was asked for, named in a 404.

    Raises:
        LitemillError: For any of them.
    """
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        # The client prints links of its own.
        with redirect_stdout(io.StringIO()):
            yield
    except ApiException as error:
        raise LitemillError(_said(error, what), where=host, fix=_fix(error.status)) from error
    except (HTTPError, TimeoutError, ConnectionError) as error:
        fix = "Is the URL right? Is it forwarded: kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80"
        raise LitemillError("Kubeflow Pipelines cannot be reached", where=host, fix=fix) from error


def _said(error: Any, what: str) -> str:
    if error.status == 401:
        return "Kubeflow Pipelines asks who you are (401)"
    if error.status == 403:
        return "Kubeflow Pipelines refuses this user or service account (403)"
    if error.status == 404:
        return f"Kubeflow Pipelines knows no {what or 'such thing'} (404)"
    return f"Kubeflow Pipelines answered {error.status}: {_message(error)}"


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason)


def _fix(status: int) -> str:
    if status == 401:
        return f"Put a bearer token into {TOKEN}, or use a port-forward"
    if status == 403:
        return "Check the namespace and the role bindings"
    return ""
