"""No secret in a config: it is compiled into pipelines, recorded in MLflow and kept in caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litemill.redact import names_secret, redact

WITHOUT_SECRETS = (
    "Configs are compiled and recorded: keep it in the environment, on Kubernetes in cluster.secrets, and read it there"
)
PUBLIC = ("secrets", "tolerations", "labels", "node_selector", "image_pull_secrets")
"""Keys below which names that look like a secret's are none: those of Kubernetes' own secrets, labels and taints."""
Place = tuple[str | int, ...]


def secret_in(value: Any, at: Place = ()) -> Place | None:
    """Where the first secret stands in a config as it was written; None where there is none.

    A text is a secret by its form anywhere, and by its name where a user chooses the names: in options and variables.
    """
    if isinstance(value, str):
        named = {"options", "env"} & set(at[:-1]) and not isinstance(at[-1], int) and names_secret(str(at[-1]))
        return at if value and (named or redact(value) != value) else None
    if isinstance(value, Mapping):
        parts = [(key, part) for key, part in value.items() if key not in PUBLIC]
    else:
        parts = list(enumerate(value)) if isinstance(value, list) else []
    found = (secret_in(part, (*at, key)) for key, part in parts)
    return next((place for place in found if place is not None), None)


def told_of_secret(place: Place) -> str:
    """What is wrong at that place, without the secret."""
    return f"{'.'.join(map(str, place))[:200]} looks like a secret"
