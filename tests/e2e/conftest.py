"""The images, built once for all tests that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from litemill.components.images import EDGE, TRAIN

ROOT = Path(__file__).parents[2]
BASE = "localhost/python:3.11-base"


@dataclass(frozen=True)
class Engine:
    """Docker or podman with the images in it."""

    command: str
    environment: dict[str, str]
    train: str = TRAIN
    edge: str = EDGE

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine."""
        done = subprocess.run(
            [self.command, *arguments], capture_output=True, text=True, env=os.environ | self.environment, check=False
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
        return done

    def script(self, name: str, *arguments: str) -> None:
        """Run a script of docker/."""
        done = subprocess.run(
            [ROOT / "docker" / name, *arguments],
            capture_output=True,
            text=True,
            env=os.environ | self.environment,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-1000:]}{done.stderr[-3000:]}"

    def read_only(self, image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in an image as a cluster should: its own user, read-only root, no capabilities."""
        hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")
        return self("run", "--rm", *hardened, *options, "--entrypoint", command[0], image, *command[1:], check=False)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine, with both images built from this checkout.

    With podman, and no BASE_IMAGE set, the base is made with docker/base.sh: no registry is needed.
    """
    command = "docker" if _answers("docker") else "podman"
    assert shutil.which(command), "these tests need docker, or podman with runc and debootstrap"
    environment = {"ENGINE": command}
    if command == "podman":
        environment["CONTAINERS_CONF"] = os.environ.get("CONTAINERS_CONF", str(ROOT / "docker" / "containers.conf"))
        environment["BASE_IMAGE"] = os.environ.get("BASE_IMAGE", BASE)
    engine = Engine(command, environment)
    if environment.get("BASE_IMAGE") == BASE and engine("image", "exists", BASE, check=False).returncode:
        engine.script("base.sh", BASE)
    engine.script("build.sh")
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    yield engine
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _answers(command: str) -> bool:
    """Whether there is such a command with a service behind it."""
    return (
        bool(shutil.which(command))
        and not subprocess.run([command, "info"], capture_output=True, check=False).returncode
    )
