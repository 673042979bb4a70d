"""`litemill run` on a small real run: results, exit codes, and what the cache serves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from ai_edge_litert.interpreter import Interpreter

from litemill.artifacts.files import sha256_of

ROOT = Path(__file__).parents[2]
HEAVY = {"doctor", "prepare-data", "import-model", "evaluate-baseline", "ptq-source", "int8-convert-source"}
JUDGING = {"evaluate-source", "benchmark-host-source"}
ALWAYS = {"start-run", "log-variants-source", "compare", "finish-run"}


@dataclass
class Ran:
    """What a run of the command line showed and left."""

    code: int
    shown: str
    out: Path

    @property
    def tasks(self) -> dict[str, bool]:
        """Each task that ended well: was it run (True) or served from the cache?"""
        return {name: mark == "✓" for mark, name in re.findall(r"^([✓=]) (\S+)", self.shown, re.MULTILINE)}

    @property
    def results(self) -> dict:  # type: ignore[type-arg]
        """`results.json`."""
        found: dict = json.loads((self.out / "results.json").read_text())  # type: ignore[type-arg]
        return found


@dataclass
class Workspace:
    """A folder with a model, data and a config, in which runs share a cache and an MLflow store."""

    folder: Path

    def write(self, **changes: object) -> None:
        """Write the config with changes."""
        config = {
            "name": "small",
            "model": {"uri": "model.keras"},
            "data": {"kind": "npz", "uri": "data.npz"},
            "recipes": {"float32": ["float32"], "int8": ["int8"]},
            "budget": {"max_accuracy_drop": 0.5},
            "release": {"uri": "released"},
            **changes,
        }
        (self.folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def run(self, *options: str) -> Ran:
        """Run the command line in this folder."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", "litemill", "run", "run.yaml", "--out", "found", *options],
            cwd=self.folder,
            env={**variables, "PYTHONPATH": paths, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, self.folder / "found")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, digits_model: Path, digits_dataset: Path) -> Workspace:
    """The digits model with its own data as a small .npz."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "model.keras").write_bytes((digits_model.parent / "digits.keras").read_bytes())
    arrays = {}
    for split, count in (("train", 300), ("test", 150)):
        for name in ("x", "y"):
            arrays[f"{name}_{split}"] = np.load(digits_dataset / split / f"{name}.npy")[:count]
    np.savez(folder / "data.npz", **arrays)
    space = Workspace(folder)
    space.write()
    return space


@pytest.fixture(scope="module")
def first(workspace: Workspace) -> Ran:
    """The first run: nothing is in the cache."""
    return workspace.run()


def test_a_run_ends_with_a_winner_and_every_file_the_layout_names(first: Ran) -> None:
    """Exit code 0, a ranked table, and per recipe the file, its evidence and its measurement."""
    assert first.code == 0, first.shown
    assert set(first.tasks) == HEAVY | JUDGING | ALWAYS | {"release"}
    assert all(first.tasks.values())
    order = list(first.tasks)
    assert order.index("doctor") < order.index("import-model"), "what will not work is told before anything trains"
    assert first.results["winner"] == "int8"
    assert first.results["variants"][0]["recipe"] == "int8"
    for name in ("results.json", "report.html", "summary.md"):
        assert (first.out / name).stat().st_size > 0
    answer = (first.out / "diagnosis.md").read_text()
    assert "no test sample is in the train split" in answer
    assert "| int8 | should work |" in answer
    for recipe in ("float32", "int8"):
        folder = first.out / "variants" / recipe
        present = {path.name for path in folder.iterdir()}
        assert {"model.tflite", "variant.json", "evaluation.json", "measurement.host.json"} <= present
        Interpreter(model_path=str(folder / "model.tflite")).allocate_tensors()
    assert "★ int8" in first.shown


def test_the_winner_is_released_with_its_evidence(first: Ran) -> None:
    """Under a name made of recipe and digest, so that no release ever overwrites another."""
    winner = first.results["variants"][0]
    [released] = (first.out.parent / "released").iterdir()
    assert released.name == f"small-int8-{winner['sha256'][:12]}"
    assert sha256_of(released / "model.tflite") == winner["sha256"]
    assert (released / "variant.json").is_file()


def test_another_budget_reruns_no_heavy_task_and_ends_with_3_where_nobody_meets_it(
    workspace: Workspace, first: Ran
) -> None:
    """An unchanged run is served from the cache; only what touches MLflow happens again, and nothing is released."""
    workspace.write(budget={"max_size_bytes": 100})
    refused = workspace.run()
    workspace.write()
    assert refused.code == 3, refused.shown
    assert refused.tasks == {**dict.fromkeys(HEAVY | JUDGING, False), **dict.fromkeys(ALWAYS, True)}
    assert refused.results["winner"] == ""
    assert {one["verdict"] for one in refused.results["variants"]} == {"fail"}
    found = {one["recipe"]: (one["accuracy"], one["sha256"]) for one in refused.results["variants"]}
    assert found == {one["recipe"]: (one["accuracy"], one["sha256"]) for one in first.results["variants"]}
    assert len(list((first.out.parent / "released").iterdir())) == 1


def test_a_new_recipe_reruns_its_delivery_but_not_the_import(workspace: Workspace, first: Ran) -> None:
    """A config change reruns what it touches: the diagnosis, which speaks of recipes, and their own conversion."""
    workspace.write(recipes={"half": ["float16"]})
    more = workspace.run()
    workspace.write()
    assert more.code == 0, more.shown
    assert {name for name, ran in more.tasks.items() if not ran} == {
        "prepare-data",
        "import-model",
        "evaluate-baseline",
    }
    assert more.tasks["ptq-source"]
    assert more.tasks["doctor"]
    assert "| half | should work |" in (more.out / "diagnosis.md").read_text()


def test_changed_data_under_the_same_path_reruns_what_reads_it(workspace: Workspace, first: Ran) -> None:
    """Kubeflow's key holds the path, not the content: the digest from start-run makes the difference."""
    path = workspace.folder / "data.npz"
    before = path.read_bytes()
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "x_test": arrays["x_test"][:100], "y_test": arrays["y_test"][:100]})
    workspace.write(recipes={"float32": ["float32"]})
    changed = workspace.run()
    workspace.write()
    path.write_bytes(before)
    assert changed.code == 0, changed.shown
    assert changed.tasks["doctor"]
    assert changed.tasks["prepare-data"]
    assert changed.tasks["evaluate-source"]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"recipe": {}}, "unknown key 'recipe'; did you mean 'recipes'?"),
        ({"recipes": {"a": ["int9"]}}, "unknown step 'int9'; did you mean 'int8'?"),
        ({"recipes": {"a": ["int8", "prune"]}}, "nothing can follow it"),
        ({"model": {"uri": "absent.keras"}}, "absent.keras"),
        ({"data": {"kind": "npz", "uri": "absent.npz"}}, "absent.npz"),
        ({"targets": ["hots"]}, "host"),
    ],
)
def test_a_wrong_config_ends_with_2_before_any_task(
    workspace: Workspace, changes: dict[str, object], answer: str
) -> None:
    """One clear error that names what is wrong, and nothing was run."""
    workspace.write(**changes)
    refused = workspace.run()
    workspace.write()
    assert refused.code == 2, refused.shown
    assert answer in refused.shown.replace("\n", " ")
    assert not refused.tasks
    assert "Traceback" not in refused.shown


def test_results_never_replace_a_folder_of_something_else(workspace: Workspace) -> None:
    """A mistyped --out must not cost anyone their files."""
    other = workspace.folder / "found-elsewhere"
    other.mkdir()
    (other / "thesis.txt").write_text("irreplaceable")
    refused = workspace.run("--out", "found-elsewhere")
    assert refused.code == 2, refused.shown
    assert (other / "thesis.txt").read_text() == "irreplaceable"
