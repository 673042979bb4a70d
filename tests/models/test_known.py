"""The lists that models are judged by are those of the installed packages, and the page about trust says what holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from litemill.artifacts.foreign import MIB, RATIO, UNPACKED
from litemill.models.known import known, operations, tensorflow_functions
from litemill.process.limits import Limits
from tests.models.derive_known import FILE

ROOT = Path(__file__).parents[2]


def test_the_lists_are_those_of_the_installed_packages(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.models.derive_known", str(tmp_path / "known.json")]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    written, found = (json.loads(file.read_text()) for file in (FILE, tmp_path / "known.json"))
    changed = [
        f"{room}.{kind}: {name}"
        for room, kinds in found.items()
        for kind, names in kinds.items()
        for name in set(names) ^ set(written[room][kind])
    ]
    assert not changed and written == found, "run python -m tests.models.derive_known and read what changed"


def test_nothing_that_runs_code_or_opens_files_is_on_the_lists() -> None:
    for version in ("keras2", "keras3"):
        names = set(known(version).classes) | set(known(version).functions)  # type: ignore[arg-type]
        assert not names & {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "ResidualWrapper"}
        assert not names & {"load_model", "get_file", "load_img", "deserialize", "get", "serialize", "function"}
        assert all(module.split(".")[0] in ("builtins", "keras", "tensorflow") for module in known(version).modules)  # type: ignore[arg-type]
        assert {"Dense", "Functional", "LSTM", "Bidirectional", "Adam"} <= set(known(version).classes)  # type: ignore[arg-type]
    assert not [name for name in tensorflow_functions() if "io." in name or "py_func" in name or "load" in name]
    assert not operations() & {"ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "SaveV2", "RestoreV2", "PrintV2"}
    assert {"Conv2D", "MatMul", "VarHandleOp", "While", "TensorListReserve", "CudnnRNNV3"} <= operations()


def test_the_page_about_trust_names_the_limits_that_hold() -> None:
    page = " ".join((ROOT / "docs/trust.md").read_text().split())
    none, one = Limits.for_size(0), Limits.for_size(MIB)
    assert f"{none.cpu_seconds:g} seconds of processor time and {one.cpu_seconds - none.cpu_seconds:g} more" in page
    assert (
        none.memory == 1024 * MIB and (one.memory - none.memory) == 10 * MIB and "1 GiB of memory and ten times" in page
    )
    assert f"more than {UNPACKED // MIB} MiB and {RATIO} times the file" in page
