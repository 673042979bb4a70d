"""A place where runs are repeated: a model, data and a config beside a server, a bucket and a webhook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient

from tests.mlflow_server import MlflowServer

ROOT = Path(__file__).parents[2]
LONGEST = 900.0
"""Seconds that a command may take."""


class Handler(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@dataclass
class Place:
    """A folder with a model, data and a config, with a server, a bucket and a webhook."""

    folder: Path
    server: MlflowServer
    variables: dict[str, str]
    told: list[dict[str, Any]]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.server.address)

    @property
    def aliases(self) -> dict[str, str]:
        found = self.client.get_registered_model("lamp").aliases
        return {alias: str(version) for alias, version in found.items()}

    def write(self, recipes: dict[str, list[str]], model: str = "model.keras", **tracking: str) -> None:
        config = {
            "name": "lamp",
            "model": {"uri": model},
            "data": {"kind": "npz", "uri": "data.npz"},
            "recipes": recipes,
            "training": {"epochs": 5, "batch_size": 32, "learning_rate": 1e-3},
            "objective": "gzip",
            "budget": {"max_accuracy_drop": 0.08},
            "tracking": {"registered_model": "lamp", **tracking},
            "release": {"uri": "gs://mill/lamps", "intended_use": "To read digits."},
            "notify": [{"kind": "json", "url_env": "HOOK"}],
        }
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def start(self, *words: str) -> subprocess.Popen[str]:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        # MLflow starts its server as a program by name.
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**plain, **self.variables, "PYTHONPATH": paths, "PATH": programs, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a command of the program, and return what it printed."""
        process = self.start("litemill", *words)
        shown, _ = process.communicate(timeout=LONGEST)
        assert process.returncode == code, shown
        return shown

    def run(self, code: int = 0) -> str:
        return self("run", "run.yaml", "--out", "found", code=code)
