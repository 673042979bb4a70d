"""Run tasks in the project's images, on docker or podman.

`kfp.local`'s own way to start a container reads the exit code of one that removes itself, and so takes failures for
successes; it also inherits no environment and sees nothing but the pipeline root.
"""

from __future__ import annotations

import codecs
import io
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from unittest.mock import patch

from litemill.errors import LitemillError
from litemill.pipelines.container_watch import LABEL
from litemill.pipelines.execute import Order
from litemill.pipelines.logs import error_in, last_lines
from litemill.redact import RedactedLines

if TYPE_CHECKING:
    from docker.models.containers import Container

    from docker import DockerClient

DOCKER_HOST = "DOCKER_HOST"
TRACKING_URI, SQLITE = "MLFLOW_TRACKING_URI", "sqlite:///"
PASSED = (
    *("MLFLOW_", "LITEMILL_", "STORAGE_EMULATOR_HOST", "AWS_", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "TF_CPP_"),
)
"""Prefixes of the variables that a task inherits from this process."""
FILES = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE"),
)
"""Variables that name a file: passed on, and the file mounted."""


@dataclass(frozen=True)
class Service:
    """What was started so that containers can be: podman's process, and the folder of its socket; or nothing."""

    pid: int = 0
    folder: str = ""


@contextmanager
def container_runner(images: Iterable[str], writable: Path, inputs: Iterable[Path] = ()) -> Iterator[Containers]:
    """Run tasks in containers inside the block; whatever still runs at its end, or when the run is killed, is removed.

    Tasks run as the calling user on a read-only root with a temporary `/tmp`, without capabilities, on the host's
    network (a tracking server on localhost is reached), in the current folder.

    Args:
        images: The images that the tasks name.
        writable: Folder that tasks write to, besides the pipeline root.
        inputs: Local files and folders that tasks read.

    Raises:
        LitemillError: No docker or podman answers, or an image is missing.
    """
    with ExitStack() as stack:
        service = stack.enter_context(_reachable())
        label = f"{os.getpid()}-{secrets.token_hex(4)}"
        stack.enter_context(_removed_when_killed(label, service))
        containers = Containers(images, _volumes(writable, inputs), label)
        stack.callback(containers.close)
        yield containers


@contextmanager
def _removed_when_killed(label: str, service: Service) -> Iterator[None]:
    """A process beside the run that removes its containers where the run cannot, because it was killed."""
    watched, life = os.pipe()
    arguments = [str(watched), label, str(service.pid), service.folder]
    watcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "litemill.pipelines.container_watch", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(watched,),
        start_new_session=True,
    )
    os.close(watched)
    try:
        yield
        os.write(life, b"done")
    finally:
        os.close(life)
        watcher.wait()


class Containers:
    """The containers of a run.

    Attributes:
        versions: The id of each image: what a cache key needs beside the name.
    """

    def __init__(self, images: Iterable[str], volumes: dict[str, dict[str, str]], label: str) -> None:
        import docker

        self.client: DockerClient = docker.from_env(timeout=600)
        self.versions = {image: _image_id(self.client, image) for image in images}
        self.environment = _environment()
        self.volumes = volumes
        self.label = label
        self.user = _user(self.client)
        self.running: list[Container] = []

    def launch(self, order: Order, output: IO[bytes]) -> ContainerTask:
        """Start a task; what it prints goes to the file."""
        container = self.client.containers.create(
            order.image,
            entrypoint=order.command[:1],
            command=order.command[1:],
            environment=self.environment | order.variables,
            volumes=self.volumes,
            working_dir=str(Path.cwd()),
            user=self.user,
            network_mode="host",
            read_only=True,
            tmpfs={"/tmp": "rw,exec,mode=1777"},  # noqa: S108  (the task's own)
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            labels={LABEL: self.label},
        )
        self.running.append(container)
        container.start()
        return ContainerTask(self, container, output)

    def remove(self, container: Container) -> None:
        """Stop and remove a container; one that is gone already is no error."""
        from docker.errors import NotFound

        with suppress(NotFound):
            container.remove(force=True)
        with suppress(ValueError):
            self.running.remove(container)

    def close(self) -> None:
        """Stop and remove what still runs."""
        for container in list(self.running):
            self.remove(container)
        self.client.close()


@dataclass
class ContainerTask:
    """A task's container; see `litemill.pipelines.execute.Job`."""

    all: Containers
    container: Container
    output: IO[bytes]

    def wait(self) -> str | tuple[str, int]:
        """Wait for its end: nothing where it went well, else the true error and the exit code it asks for."""
        try:
            printed = RedactedLines(io.TextIOWrapper(self.output, encoding="utf-8", write_through=True))
            pieces = (bytes(piece) for piece in self.container.logs(stream=True, follow=True))
            for text in codecs.iterdecode(pieces, "utf-8", errors="replace"):
                printed.write(text)
            printed.close()
            code = int(self.container.wait()["StatusCode"])
        finally:
            self.all.remove(self.container)
        return "" if code == 0 else error_in(last_lines(Path(self.output.name)), code)

    def kill(self) -> None:
        """End it at once."""
        from docker.errors import APIError

        with suppress(APIError):
            self.container.kill()


def _image_id(client: DockerClient, image: str) -> str:
    from docker.errors import ImageNotFound

    try:
        return str(client.images.get(image).id)
    except ImageNotFound:
        raise LitemillError(
            "there is no such image here", where=image, fix="Build it with `make images`, or pull it"
        ) from None


def _user(client: DockerClient) -> str:
    """The calling user, so that what tasks leave is theirs; a rootless engine maps its root to them."""
    rootless = any("rootless" in option for option in client.info().get("SecurityOptions") or [])
    return "0:0" if rootless else f"{os.getuid()}:{os.getgid()}"


def _environment() -> dict[str, str]:
    """What a task gets to know of this process's environment."""
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED)}
    passed |= {name: os.environ[name] for name in FILES if Path(os.environ.get(name, "")).is_file()}
    return passed | {"HOME": "/tmp"}  # noqa: S108  (the container's own)


def _volumes(writable: Path, inputs: Iterable[Path]) -> dict[str, dict[str, str]]:
    """The current folder and the inputs to read, and where tasks write; all at the same path as here."""
    here = Path.cwd()
    named = [Path(os.environ[name]) for name in FILES if os.environ.get(name)]
    read = [here, *(path.absolute() for path in (*inputs, *named) if path.exists())]
    volumes = {str(path): {"bind": str(path), "mode": "ro"} for path in read}
    return volumes | {str(path): {"bind": str(path), "mode": "rw"} for path in (writable.absolute(), *_local_store())}


def _local_store() -> list[Path]:
    """The folder of a tracking database in a file: runs and their artifacts are written there."""
    uri = os.environ.get(TRACKING_URI, "").strip()
    if uri and not uri.startswith(SQLITE):
        return []
    return [Path(uri.removeprefix(SQLITE)).absolute().parent] if uri else [Path.cwd()]


@contextmanager
def _reachable() -> Iterator[Service]:
    """See to it that DOCKER_HOST, or its default, is a docker or podman service; one of podman is started at need.

    Yields:
        What was started.

    Raises:
        LitemillError: There is neither.
    """
    if os.environ.get(DOCKER_HOST) or Path("/var/run/docker.sock").exists():
        _answers()
        yield Service()
        return
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    for socket in (runtime / "podman/podman.sock", Path("/run/podman/podman.sock")):
        if socket.exists():
            with patch.dict(os.environ, {DOCKER_HOST: f"unix://{socket}"}):
                _answers()
                yield Service()
            return
    with _podman_service() as (address, service), patch.dict(os.environ, {DOCKER_HOST: address}):
        yield service


def _answers() -> None:
    from docker.errors import DockerException

    import docker

    try:
        client = docker.from_env(timeout=20)
        client.ping()
        client.close()
    except DockerException as error:
        where = os.environ.get(DOCKER_HOST, "/var/run/docker.sock")
        raise LitemillError(
            f"no docker or podman answers: {error}", where=where, fix=f"Start it, or set {DOCKER_HOST}"
        ) from None


@contextmanager
def _podman_service() -> Iterator[tuple[str, Service]]:
    """Podman's API for the time of a run; yields its address, and what was started."""
    podman = shutil.which("podman")
    if podman is None:
        raise LitemillError(
            "no docker or podman was found", where="--runner container", fix=f"Install one, or set {DOCKER_HOST}"
        )
    with tempfile.TemporaryDirectory(prefix="litemill-podman-") as folder:
        socket, log = Path(folder) / "podman.sock", Path(folder) / "log"
        with log.open("wb") as file:
            service = subprocess.Popen(
                [podman, "system", "service", "--time=0", f"unix://{socket}"],
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for us: the service is needed to remove the containers
            )
        try:
            for _ in range(200):
                if socket.exists() or service.poll() is not None:
                    break
                time.sleep(0.1)
            if not socket.exists():
                raise LitemillError(f"podman's service did not start: {log.read_text().strip()[-300:]}", where=podman)
            yield f"unix://{socket}", Service(service.pid, folder)
        finally:
            service.terminate()
            service.wait(timeout=30)
