"""Remove what a run that was killed leaves: `python -m litemill.pipelines.container_watch PIPE LABEL SERVICE FOLDER`.

The run holds the other end of the pipe. Where it ends well it says so; where the pipe just closes, its containers are
removed, and podman's service (a process id; 0 for none) that it had started is ended, with the folder of its socket.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress

LABEL = "litemill.run"


def main() -> None:
    """Wait for the end of the run."""
    pipe, label, service, folder = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.read(pipe, 4):
        return
    import docker

    client = docker.from_env(timeout=60)
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}={label}"}):
        container.remove(force=True)
    client.close()
    if service:
        with suppress(ProcessLookupError):
            os.kill(service, signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
