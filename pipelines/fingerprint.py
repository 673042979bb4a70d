"""What code a component runs: a digest of the modules it imports, so that a cache knows when the library changed.

Kubeflow's cache key holds a component's own source, which here is a few lines that call the library. On a cluster
the image's name stands for the library; on a laptop nothing does, and a stale result would be served.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp

VERSIONED = ("ai-edge-litert", "ethos-u-vela", "numpy", "scikit-learn", "tensorflow", "tensorflow-model-optimization")
"""Installed packages that decide what comes out of a task."""


@cache
def fingerprint(component: str) -> str:
    """Digest of the library modules that a component imports, directly or not, and of what they build on.

    Args:
        component: Name of a module of `components`, such as `prune`.

    Returns:
        SHA-256 as hex digits.
    """
    digest = hashlib.sha256()
    for module in sorted(modules_of(component)):
        digest.update(f"{module}\0".encode())
        digest.update(_file_of(module).read_bytes())
    for package in VERSIONED:
        digest.update(f"{package}=={_version(package)}\n".encode())
    return digest.hexdigest()


def modules_of(component: str) -> set[str]:
    """The modules of `litemill` that a component imports, directly or not, and the packages that hold them."""
    found = {name for name in _graph().find_upstream_modules(f"components.{component}") if name.startswith("litemill")}
    packages = {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 1)}
    held = {name for package in packages - found for name in _graph().find_upstream_modules(package)}
    return found | packages | {name for name in held if name.startswith("litemill")}


@cache
def _graph() -> grimp.ImportGraph:
    # Imports inside functions count too: that is where components and heavy libraries are imported.
    return grimp.build_graph("litemill", "components", cache_dir=None)


def _file_of(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"no source of {module}")
    return Path(spec.origin)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
