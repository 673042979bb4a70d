"""What of a run's tasks is the code of other packages: a cache must know when that changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litemill.artifacts.storage import STORES, store_of
from litemill.config.data_kinds import DATA_KINDS
from litemill.config.run import RunSpec
from litemill.config.schemes import SCHEMES
from litemill.config.targets import TARGETS
from litemill.pipelines.fingerprint import own_code
from litemill.plugins import OURS, Registry
from litemill.tasks import METRICS


def extensions(spec: RunSpec) -> dict[str, str]:
    """The packages that brought what the tasks of a run use, and their code where it may change without a new version.

    Args:
        spec: The run.

    Returns:
        Text for the cache key by component; a component that uses Litemill alone is not in it.
    """
    schemes = (step.name for steps in spec.recipes.values() for step in steps if step.is_scheme)
    data = [*_brought(DATA_KINDS, [spec.data.kind]), *_brought(STORES, _schemes(spec.data.uri))]
    model = _brought(STORES, _schemes(spec.model.uri))
    converting = _brought(SCHEMES, schemes)
    found = {
        "doctor": [*data, *model],
        "prepare-data": [*data, *model],
        "import-model": model,
        "ptq": converting,
        "int8-convert": converting,
        "evaluate": _brought(METRICS, [spec.data.metric] if spec.data.metric in METRICS else []),
        "benchmark": _brought(TARGETS, (target.kind for target in spec.targets)),
    }
    return {component: " ".join(dict.fromkeys(words)) for component, words in found.items() if words}


def _schemes(uri: str) -> list[str]:
    store = store_of(uri)
    return [store.name] if store else []


def _brought(registry: Registry[Any], names: Iterable[str]) -> list[str]:
    """Package, version and code behind each name that is not ours."""
    found = []
    for name in dict.fromkeys(names):
        origin = registry.brought_by(name)
        if origin != OURS:
            code = "".join(own_code(reference) for reference in registry.code(name))
            found.append(f"{origin.distribution}=={origin.version}{f'#{code}' if code else ''}")
    return found
