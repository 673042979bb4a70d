"""Write what is in an image as a software bill of materials (CycloneDX 1.6, JSON), from the lock.

    python docker/sbom.py train out/train.cdx.json

The packages are those that the image's Dockerfile installs, with all that they require on Linux on x86-64; versions and
digests are the lock's. Run it in the environment that `make setup` made: it reads what each package requires there.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
IMAGES = {"train": ("litemill[train]", "kfp"), "edge": ("litemill[devices]", "kfp")}
"""What each Dockerfile installs."""
LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def locked(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and digests of each package in a lock, by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if start := LINE.match(line):
            name = canonicalize_name(start[1])
            found[name] = (start[2], [])
        found[name][1].extend(HASH.findall(line))
    return found


def requirements(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What a package requires on this platform with some of its extras; nothing where it is not installed."""
    try:
        written = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    environment = {**default_environment(), "platform_machine": "x86_64", "sys_platform": "linux"}
    parsed = [Requirement(text) for text in written]
    return [
        one
        for one in parsed
        if not one.marker or any(one.marker.evaluate({**environment, "extra": extra}) for extra in extras or {""})
    ]


def contents(image: str) -> dict[str, set[str]]:
    """The packages of an image, each with those it requires itself."""
    waiting = [Requirement(text) for text in IMAGES[image]]
    done: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, set[str]] = {}
    while waiting:
        one = waiting.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        direct = requirements(name, extras)
        found.setdefault(name, set()).update(canonicalize_name(other.name) for other in direct)
        waiting += direct
    return {name: needs - {name} for name, needs in found.items()}


def bill(image: str, lock: Path) -> dict[str, Any]:
    """The bill of materials of an image.

    Raises:
        SystemExit: A package of the image is not in the lock.
    """
    pinned, packages = locked(lock), contents(image)
    packages.pop("litemill")
    if lost := sorted(set(packages) - set(pinned)):
        raise SystemExit(f"not in {lock.name}: {', '.join(lost)}; run `make lock`")
    address = {name: f"pkg:pypi/{name}@{pinned[name][0]}" for name in packages}
    version = distribution("litemill").version
    components = [
        {
            "type": "library",
            "bom-ref": address[name],
            "name": name,
            "version": pinned[name][0],
            "purl": address[name],
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in pinned[name][1]],
        }
        for name in sorted(packages)
    ]
    top = f"litemill-{image}"
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{top}@{version}{content}')}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": top, "name": top, "version": version}},
        "components": components,
        "dependencies": [
            {"ref": top, "dependsOn": sorted(address.values())},
            *(
                {"ref": address[name], "dependsOn": sorted(address[need] for need in needs if need in address)}
                for name, needs in sorted(packages.items())
            ),
        ],
    }


if __name__ == "__main__":
    image, out = sys.argv[1], Path(sys.argv[2])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill(image, ROOT / "requirements.lock"), indent=2) + "\n", encoding="utf-8")
