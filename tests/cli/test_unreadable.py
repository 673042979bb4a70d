"""Files and folders that may not be read are one line that names them: models, data sets, configs, command lines."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
TRY = """
import json, sys
from pathlib import Path
from litemill.config.data import DataSpec
from litemill.config.load import load_config
from litemill.data.checks import check_source
from litemill.errors import LitemillError
from litemill.models.peek import peek
from litemill.stages.inspect import inspect_file

found = {}
for name, kind in json.loads(sys.argv[1]):
    readers = {"model": lambda: peek(Path(name)), "config": lambda: load_config(Path(name)),
               "tflite": lambda: inspect_file(Path(name))}
    spec = {"kind": kind, "uri": name, "options": {"label": "y"} if kind == "csv" else {}}
    try:
        readers.get(kind, lambda: check_source(DataSpec.model_validate(spec)))()
        found[name] = "was read"
    except LitemillError as error:
        found[name] = f"{error.exit_code} {error}"
print(json.dumps(found))
"""


def as_others() -> None:
    """Take from root, for good, the right to read what its mode forbids; others do not have it."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture
def closed(tmp_path: Path) -> list[Path]:
    """What may not be read, by what it would be."""
    files = ("m.keras", "m.h5", "m.tflite", "saved/saved_model.pb", "d.npz", "d.csv", "run.yaml", "r/train-0.tfrecord")
    folders = ("model", "images", "records", "arrays")
    made = [tmp_path / name for name in (*files, *folders, "few/train/a/1.png")]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name in folders else path.write_bytes(b"TFL3TFL3")
    (tmp_path / "r/test-0.tfrecord").touch()
    for name in ("train/a/2", "train/b/1", "test/a/1", "test/b/1"):
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "few" / f"{name}.png")
    for path in made:
        path.chmod(0)
    return made


def test_what_may_not_be_read_is_named_in_one_line(closed: list[Path], tmp_path: Path) -> None:
    kinds = {"m.keras": "model", "m.h5": "model", "m.tflite": "model", "saved": "model", "model": "model"}
    kinds |= {"d.npz": "npz", "d.csv": "csv", "r": "tfrecord", "records": "tfrecord", "arrays": "numpy"}
    kinds |= {"images": "image_folder", "few": "image_folder", "run.yaml": "config"}
    asked = [(str(tmp_path / name), kind) for name, kind in kinds.items()]
    done = subprocess.run(
        [sys.executable, "-c", TRY, json.dumps([*asked, (f"{tmp_path}/./m.tflite", "tflite")])],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin"},
        preexec_fn=as_others,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(asked) + 1
    for path, message in found.items():
        assert message.startswith(f"2 {Path(path)}") and "ermission denied" in message, message
        assert "\n" not in message
    for path in closed:
        path.chmod(0o700)
