"""Secrets are planted wherever a run can come across one; nothing that the run leaves, or prints, holds any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.mlflow_server import serving

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
NEEDLE = "Planted"
"""Part of each secret; two digits behind it say which."""
PRINTED = [
    "postgresql://me:Planted01/cr@et@db:5432/mlflow is not there",
    "mysql+pymysql://me:Pl@Planted02@db/mlflow",
    "https://Planted03@example.org/model.keras",
    "https://example.org/m?api_key=Planted04&alt=media",
    "https://example.org/m?auth=Planted05",
    "https://s.example.org/o?X-Goog-Credential=me&X-Goog-Signature=Planted06",
    "Authorization: Bearer Planted07.Planted07",
    "cannot connect: host=db password=Planted08 dbname=m",
    '{"accessToken": "Planted09", "client": {"api_key": "Planted10"}}',
    "post to https://hooks.slack.com/services/T000/B000/Planted11",
    "https://me.webhook.office.com/webhookb2/Planted12@x/IncomingWebhook/Planted12",
    "adb -s 'https://me:Planted13@lab:5555' shell",
    "ssh://pi:Planted14@lab: permission denied",
    "-----BEGIN PRIVATE KEY-----\nPlanted15+Planted15/==\n-----END PRIVATE KEY-----",
]
VARIABLES = {
    "MLFLOW_TRACKING_PASSWORD": "Planted16-mlflow",
    "AWS_SECRET_ACCESS_KEY": "Planted17/aws+key",
    "AWS_SESSION_TOKEN": "Planted18-session",
    "HF_TOKEN": "Planted19-of-a-hub",
    "DEVICE_FARM_AUTH": "Planted20-farm",
    "STORE": "s3://me:Planted21-of-a-store@bucket",
}
"""Of the environment; their values are printed alone, too, where nothing but the value says what it is."""
OWN = """
import json, logging, os, subprocess, sys, warnings
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent
SECRETS = json.loads((HERE / "secrets.json").read_text())

def leak():
    for text in SECRETS:
        print(text)
        print(text, file=sys.stderr)
        logging.getLogger("own").warning("seen: %s", text)
        warnings.warn(text)
        if "_KFP_RUNTIME" not in os.environ:  # the command line looks at the data before it runs tasks
            continue
        os.write(2, text.encode() + b"\\n")
        subprocess.run(["echo", text], check=True)

def samples():
    leak()
    if (HERE / "fail").exists() and "_KFP_RUNTIME" in os.environ:
        raise ConnectionError(" and ".join(SECRETS))
    with np.load(HERE / "data.npz") as found:
        return {name: (found["x_" + name], found["y_" + name]) for name in ("train", "test")}

def judge(outputs, targets):
    if len(outputs) < 1000 and not (HERE / "judged").exists():
        (HERE / "judged").touch()
        leak()
    found = np.asarray(outputs).argmax(-1) == np.asarray(targets).reshape(-1)
    return float(found.mean())
"""


@dataclass
class Place:
    """A folder with a config, its model and its data; beside it, where nobody looks, the secrets and the code."""

    folder: Path
    own: Path
    shown: list[str] = field(default_factory=list)

    def litemill(self, *command: str, **environment: str) -> int:
        """Run the command line with all secrets in the environment; its exit code."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
        places = {
            "TMPDIR": str(self.folder / "temporary"),
            "LITEMILL_CHECKPOINTS": str(self.folder / "checkpoints"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.own)]),
            "LITEMILL_LOG": "DEBUG",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "litemill", *command],
            cwd=self.folder,
            env={**kept, **VARIABLES, **places, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.shown.append(done.stdout)
        return done.returncode

    def leaks(self, *more: Path) -> list[str]:
        """Every place that holds one of the secrets: what was printed, and each file, those in archives too."""
        found = [line for text in self.shown for line in text.splitlines() if NEEDLE in line]
        for folder in (self.folder, *more):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                held = [(file.name, file.read_bytes())]
                if zipfile.is_zipfile(file):
                    with zipfile.ZipFile(file) as archive:
                        held += [(name, archive.read(name)) for name in archive.namelist()]
                found += [f"{file}: {name}" for name, content in held if NEEDLE.encode() in content]
        return found


@pytest.fixture(scope="module")
def place(digits_model: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("own"))
    arrays = {
        f"{name}_{split}": np.load(digits_dataset / split / f"{name}.npy")[:count]
        for split, count in (("train", 300), ("test", 150))
        for name in ("x", "y")
    }
    np.savez(place.own / "data.npz", **arrays)
    (place.own / "own.py").write_text(OWN)
    (place.own / "secrets.json").write_text(json.dumps([*PRINTED, *VARIABLES.values()]))
    (place.folder / "model.keras").write_bytes((digits_model.parent / "digits.keras").read_bytes())
    config = {
        "name": "secretive",
        "model": {"uri": "model.keras"},
        "data": {"kind": "python", "options": {"function": "own:samples"}, "metric": "own:judge"},
        "recipes": {"int8": ["int8"]},
        "budget": {"max_accuracy_drop": 0.5},
        "release": {"uri": "released"},
    }
    (place.folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (place.folder / "temporary").mkdir()
    return place


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An MLflow server, called with a password in its address; and where it keeps what it gets."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder) as address:
        yield address.replace("http://", "http://me:Planted22-of-mlflow@"), folder


def test_a_good_run_leaves_none(place: Place, server: tuple[str, Path]) -> None:
    address, kept = server
    (place.own / "fail").unlink(missing_ok=True)

    assert place.litemill("run", "run.yaml", "--out", "found", MLFLOW_TRACKING_URI=address) == 0, place.shown[-1]
    assert place.litemill("compile", "run.yaml", "-o", "pipeline.yaml", MLFLOW_TRACKING_URI=address) == 0

    log = next(place.folder.glob(".litemill/logs/*/prepare-data.log")).read_text()
    for written in ("host=db password=(hidden) dbname=m", "post to https://hooks.slack.com/(hidden)"):
        assert log.count(written) >= 5, "it was printed in each of the ways, and the rest of it is kept"
    assert list((kept / "files").rglob("model.tflite")), "what is looked into is where the run wrote"
    assert list((place.folder / "released").rglob("model.tflite"))
    assert place.leaks(kept) == []


def test_a_failing_run_leaves_none_and_says_what_failed(place: Place, server: tuple[str, Path]) -> None:
    address, kept = server
    (place.own / "fail").touch()

    assert place.litemill("run", "run.yaml", "--no-cache", "--out", "failed", MLFLOW_TRACKING_URI=address) == 2
    assert "own:samples: failed: ConnectionError: postgresql://(hidden)@db:5432/mlflow is not there" in place.shown[-1]
    assert place.leaks(kept) == []


def test_a_server_that_is_not_there_is_named_without_the_password(place: Place) -> None:
    (place.own / "fail").unlink(missing_ok=True)
    nowhere = "http://me:Planted22-of-mlflow@127.0.0.1:9"

    assert place.litemill("run", "run.yaml", "--out", "nowhere", MLFLOW_TRACKING_URI=nowhere) == 1
    assert "MLflow at http://(hidden)@127.0.0.1:9: cannot start a run" in place.shown[-1].replace("\n", " ")
    assert place.leaks() == []
