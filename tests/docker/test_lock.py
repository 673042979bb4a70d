"""The lock and the bills of materials: every package pinned by digest, and nothing of the machine it was made on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def pinned() -> dict[str, list[str]]:
    """Each package of the lock, with its version, and its digests."""
    blocks = re.split(r"\n(?=\S)", LOCK.read_text().strip())
    return {block.split(" ")[0]: re.findall(r"--hash=sha256:([0-9a-f]{64})", block) for block in blocks}


def test_every_package_of_the_lock_has_a_version_and_digests() -> None:
    """Of all Pythons and platforms: a wheel that was exchanged is refused wherever it is installed."""
    for name, digests in pinned().items():
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^ ]+", name), name
        assert digests, name


def test_the_lock_names_no_index_and_no_folder() -> None:
    """It installs from whatever index the user has."""
    lines = [line.strip() for line in LOCK.read_text().splitlines()]
    assert not [
        line for line in lines if "://" in line or line.startswith(("-i", "--index", "--find", "--extra", "/", "."))
    ]


def test_what_sets_up_installs_by_digest() -> None:
    """uv itself first, cut out of the lock with its digests; then everything."""
    cut = subprocess.run(["sed", "-n", r"/^uv==/,/[^\\]$/p", LOCK], capture_output=True, text=True, check=True).stdout
    assert cut.startswith("uv==") and cut.count("==") == 1
    assert len(re.findall("--hash=sha256:", cut)) == cut.count("\n") - 1 >= 1
    assert (ROOT / "Makefile").read_text().count("--require-hashes") >= 2


@pytest.mark.parametrize(
    ("image", "has", "lacks"), [("train", "tensorflow", "adbutils"), ("edge", "adbutils", "tensorflow")]
)
def test_an_image_has_a_bill_of_materials(image: str, has: str, lacks: str, tmp_path: Path) -> None:
    """CycloneDX: each package at the lock's version with its digests, what requires it, the same at every call."""
    written: list[dict[str, Any]] = []
    for at in range(2):
        out = tmp_path / f"{at}.json"
        subprocess.run([sys.executable, ROOT / "docker/sbom.py", image, out], check=True)
        written.append(json.loads(out.read_text()))
    found = written[0]
    assert written[1] == found
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    names = {one["name"] for one in found["components"]}
    assert {has, "kfp", "ai-edge-litert"} <= names
    assert not names & {lacks, "pytest", "litemill"}
    lock = {re.sub(r"\[.*\]", "", name): digests for name, digests in pinned().items()}
    for one in found["components"]:
        assert [each["content"] for each in one["hashes"]] == lock[f"{one['name']}=={one['version']}"]
        assert one["purl"] == one["bom-ref"] == f"pkg:pypi/{one['name']}@{one['version']}"
    references = {one["bom-ref"] for one in found["components"]} | {found["metadata"]["component"]["bom-ref"]}
    assert {one["ref"] for one in found["dependencies"]} == references
    assert all(set(one["dependsOn"]) <= references for one in found["dependencies"])
