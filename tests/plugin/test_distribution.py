"""A package of its own adds a scheme, a target, a kind of data, a metric and a storage: installed, used, on record."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from litemill.data.splits import Splits
from litemill.flatbuffer.reader import constant, read_model
from tests.workshop import convert_here

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DISTRIBUTION = HERE / "distribution"
CONFIG: dict[str, Any] = {
    "name": "fieldkit",
    "model": {"uri": "zip://assets.zip!digits.tflite"},
    "data": {
        "kind": "jsonl",
        "uri": "zip://assets.zip!digits.jsonl",
        "options": {"y": "digit"},
        "metric": "balanced_accuracy",
        "limit": {"calibration": 60},
    },
    "recipes": {"rounded": [{"rounded": {"bits": 5}}], "plain": ["float32"]},
    "targets": [{"name": "flash", "device": "paged-flash", "page": 1024}, "paged-flash"],
    "budget": {"max_accuracy_drop": 0.1},
    "objective": "size:flash",
}
STEPS = """
import litemill as lm
spec = lm.load_config("run.yaml")
lm.check(spec)
lm.prepare_data(spec.data, model=spec.model, out="data")
lm.import_model(spec.model, "data", out="model", baseline="baseline")
lm.convert("model", spec.recipes, dataset="data", out="variants")
lm.evaluate("baseline", "data", out="reference")
lm.evaluate("variants", "data", out="evaluation", reference="reference")
lm.benchmark(spec.targets[0], "variants", baseline="baseline", dataset="data", out="flash")
"""


def install(distribution: Path, target: Path) -> None:
    """Install it as a user does, into a folder of the test's own."""
    work = target.with_name(f"{target.name}-source")
    shutil.copytree(distribution, work)
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--offline", "--no-deps"]
    options = ["--no-build-isolation", "--python", sys.executable, "--target", target]
    subprocess.run([*uv, *options, work], check=True)


def ran(folder: Path, installed: Path, *words: str, code: int = 0, given: str = "") -> str:
    """What a new process prints where the package is installed; its exit code has to be that."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(installed), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        input=given,
        env={**variables, "COLUMNS": "200", "XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def litemill(folder: Path, installed: Path, *words: str, code: int = 0) -> str:
    """As `ran`, of the command line."""
    return ran(folder, installed, "-c", "from litemill.cli.app import main; main()", *words, code=code)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it."""
    target = tmp_path_factory.mktemp("installed") / "site"
    install(DISTRIBUTION, target)
    return target


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits_model: Path, digits_dataset: Path) -> Path:
    """A folder with a config and an archive that holds the digits model, in two formats, and some digits."""
    folder = tmp_path_factory.mktemp("fieldkit")
    lines = []
    splits = Splits.open(digits_dataset)
    for split, data, count in (("train", splits.train, 200), ("test", splits.test, 120)):
        for x, y in zip(data.x[:count], data.y[:count], strict=True):
            lines.append(json.dumps({"split": split, "x": x.tolist(), "digit": int(y)}))
    with zipfile.ZipFile(folder / "assets.zip", "w") as archive:
        archive.write(digits_model.parent / "digits.keras", "digits.keras")
        model = convert_here(digits_model, "float32", [-1, 8, 8, 1], folder / "digits.tflite")
        archive.write(model, "digits.tflite")
        archive.writestr("digits.jsonl", "\n".join(lines))
    (folder / "run.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture(scope="module")
def made(place: Path, installed: Path) -> Path:
    """The folder after each step of the run that needs no MLflow."""
    ran(place, installed, "-c", STEPS)
    return place


def manifest(place: Path, name: str) -> Any:
    return json.loads((place / name).read_text())


def test_its_data_storage_and_metric_are_used_and_on_record(made: Path) -> None:
    """The samples are those of the archive, the value is the mean recall, and each manifest names the package."""
    data = manifest(made, "data/dataset.json")
    assert (data["kind"], data["metric"], data["splits"]["test"]["samples"]) == ("jsonl", "balanced_accuracy", 120)
    assert data["versions"] == {"litemill-fieldkit": "1.2.0"}
    found = manifest(made, "evaluation/plain/evaluation.json")
    samples = np.load(made / "evaluation/plain/samples.npz")
    right = samples["outcome"].argmax(1) == samples["target"]
    recall = np.mean([right[samples["target"] == one].mean() for one in range(10)])
    assert found["value"] == pytest.approx(recall) and found["value"] > 0.8
    assert found["versions"] == {"litemill-fieldkit": "1.2.0"}
    assert found["drop"]["value"] == 0.0


def test_its_scheme_makes_the_file_and_is_in_the_manifest(made: Path) -> None:
    """Every weight has five bits of mantissa; what Litemill makes is recorded as Litemill's."""
    variant, plain = (manifest(made, f"variants/{name}/variant.json") for name in ("rounded", "plain"))
    assert variant["status"] == plain["status"] == "ok"
    assert variant["versions"]["litemill-fieldkit"] == "1.2.0"
    assert "litemill-fieldkit" not in plain["versions"] and plain["versions"]["litemill"]
    assert variant["options"] == {"bits": 5}
    model = read_model(made / "variants/rounded/model.tflite")
    weights = [
        values
        for tensor in model.subgraphs[0].tensors
        if (values := constant(model, tensor)) is not None and values.dtype == np.float32
    ]
    assert weights and all(not (weight.view(np.uint32) & ((1 << 18) - 1)).any() for weight in weights)
    assert variant["gzip_bytes"] < 0.7 * plain["gzip_bytes"]


def test_its_target_measures_with_its_options(made: Path) -> None:
    """Whole pages of 1,024 bytes, as the config asks."""
    for name in ("rounded", "plain"):
        measured = manifest(made, f"flash/{name}/measurement.json")
        size = manifest(made, f"variants/{name}/variant.json")["size_bytes"]
        assert measured["realised_bytes"] == -(-size // 1024) * 1024
        assert (measured["target"], measured["kind"], measured["status"]) == ("flash", "estimated", "ok")
        assert measured["versions"] == {"litemill-fieldkit": "1.2.0"}


def test_the_plan_and_the_lists_show_it(place: Path, installed: Path) -> None:
    """`plan` reads the config; `list` names the package, its version and the options beside ours."""
    shown = litemill(place, installed, "plan", "run.yaml")
    assert "ptq" in shown and "benchmark-flash" in shown and "rounded" in shown
    listed = json.loads(litemill(place, installed, "list", "--json"))
    ours = {"package": "litemill-fieldkit", "version": "1.2.0"}
    for what, name, takes in (
        ("schemes", "rounded", ["bits"]),
        ("targets", "paged-flash", ["page"]),
        ("data", "jsonl", ["x", "y"]),
        ("metrics", "balanced_accuracy", ["classification"]),
        ("storage", "zip", ["zip://archive.zip!path/of/file"]),
    ):
        row = next(row for row in listed[what] if row["name"] == name)
        assert ours.items() <= row.items() and row["takes"] == takes and row["summary"]
        assert listed[what][0]["package"] == "litemill"
    table = litemill(place, installed, "list", "schemes")
    assert re.search(r"rounded .* bits .* litemill-fieldkit 1\.2\.0", table) and "paged-flash" not in table
    assert "did you mean 'schemes'" in litemill(place, installed, "list", "scheme", code=2)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"recipes": {"a": [{"rounded": {"bit": 5}}]}}, "step 'rounded': unknown option 'bit'; did you mean 'bits'?"),
    ({"recipes": {"a": ["roundd"]}}, "unknown step 'roundd'; did you mean 'rounded'?"),
    ({"recipes": {"a": ["qat", "rounded"]}}, "end with 'int8', not 'rounded'"),
    ({"targets": [{"device": "paged-flash", "pages": 1}]}, "unknown option 'pages'; did you mean 'page'?"),
    ({"objective": "latency:flash"}, "target 'flash' tells no latency"),
    ({"data": {"kind": "jsnl", "uri": "x"}}, "unknown kind 'jsnl'; did you mean 'jsonl'?"),
    ({"data": {"kind": "jsonl"}}, "data.kind jsonl needs data.uri"),
    ({"data": {"kind": "jsonl", "uri": "x", "metric": "balanced_acuracy"}}, "did you mean 'balanced_accuracy'?"),
    ({"model": {"uri": "zip://assets.zip!none.keras"}}, "zip://assets.zip!none.keras: is not in the archive"),
    ({"model": {"uri": "zpi://assets.zip!none.keras"}}, "unknown storage 'zpi'; did you mean 'zip'?"),
    ({"release": {"uri": "zip://assets.zip!x"}}, "zip://assets.zip!x: is not a place to publish to"),
]
CHECKS = """
import json, sys
import litemill as lm
for change in json.load(sys.stdin):
    with open("changed.yaml", "w") as file:
        json.dump(json.load(open("config.json")) | change, file)
    try:
        print(json.dumps(["", lm.check("changed.yaml") and ""]))
    except lm.LitemillError as error:
        print(json.dumps([error.exit_code, str(error)]))
"""


def test_its_options_are_checked_like_ours(place: Path, installed: Path) -> None:
    """With the nearest name, in one line and with exit code 2, before any compute."""
    (place / "config.json").write_text(json.dumps(CONFIG))
    changes = json.dumps([change for change, _ in MISTAKES])
    answers = ran(place, installed, "-c", CHECKS, given=changes).splitlines()
    for answer, (change, complaint) in zip(answers, MISTAKES, strict=True):
        code, message = json.loads(answer)
        assert complaint in message and "\n" not in message, (change, message)
        assert code == 2


def test_without_the_package_its_names_are_unknown(place: Path, tmp_path: Path) -> None:
    """The error lists what is installed."""
    shown = litemill(place, tmp_path, "check", "run.yaml", code=2)
    assert "unknown step 'rounded'" in shown and "unknown kind 'jsonl'" in shown


CACHE_KEYS = """
import json
from litemill.config.load import load_config
from litemill.pipelines.extensions import extensions
print(json.dumps(extensions(load_config("run.yaml"))))
"""


def test_the_cache_key_knows_the_package_its_version_and_its_code(place: Path, installed: Path, tmp_path: Path) -> None:
    """Each task by what it uses; an edit of a package that is not installed for good counts without a new version."""

    def keys(site: Path) -> dict[str, str]:
        return dict(json.loads(ran(place, site, "-c", CACHE_KEYS)))

    site = tmp_path / "site"
    shutil.copytree(installed, site)
    before = keys(site)
    assert set(before) == {"doctor", "prepare-data", "import-model", "ptq", "int8-convert", "evaluate", "benchmark"}
    assert all("litemill-fieldkit==1.2.0" in key for key in before.values())
    code = site / "litemill_fieldkit/paged_flash.py"
    code.write_text(f"{code.read_text()}\n# edited\n")
    edited = keys(site)
    assert {name for name in before if before[name] != edited[name]} == {"benchmark"}
    info = next(site.glob("*.dist-info/METADATA"))
    info.write_text(info.read_text().replace("Version: 1.2.0", "Version: 1.3.0"))
    assert all("litemill-fieldkit==1.3.0" in key for key in keys(site).values())
    config = CONFIG | {"recipes": {"a": ["float32"]}, "targets": ["host"], "objective": "size"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    assert not {"ptq", "benchmark"} & set(json.loads(ran(tmp_path, site, "-c", CACHE_KEYS)))


def test_two_packages_that_claim_one_name_are_both_named(place: Path, installed: Path, tmp_path: Path) -> None:
    """Whoever uses the name gets an error; so does `list`, which shows all else."""
    copy = tmp_path / "copy"
    shutil.copytree(DISTRIBUTION, copy)
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace("litemill-fieldkit", "litemill-otherkit"))
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    install(copy, tmp_path / "other")
    for item in (tmp_path / "other").glob("*.dist-info"):
        shutil.copytree(item, site / item.name)
    both = "is claimed by 2 packages: litemill-fieldkit 1.2.0, litemill-otherkit 1.2.0"
    shown = " ".join(litemill(place, site, "check", "run.yaml", code=2).split())
    assert f"scheme 'rounded' {both}" in shown and "run.yaml" in shown
    listed = json.loads(litemill(place, site, "list", "--json", code=2))
    row = next(row for row in listed["targets"] if row["name"] == "paged-flash")
    assert both in row["error"]
    assert next(row for row in listed["targets"] if row["name"] == "host")["package"] == "litemill"


@pytest.mark.e2e
def test_a_whole_run_uses_it_and_the_next_one_is_served_from_the_cache(place: Path, installed: Path) -> None:
    """`litemill run`: the winner is the one that takes fewest pages, and the cache holds until the package changes."""
    (place / "keras.yaml").write_text(yaml.safe_dump(CONFIG | {"model": {"uri": "zip://assets.zip!digits.keras"}}))
    words = ("run", "keras.yaml", "--out", "found")
    shown = litemill(place, installed, *words)
    results = manifest(place, "found/results.json")
    assert results["winner"] in ("rounded", "plain"), shown
    assert manifest(place, "found/variants/rounded/variant.json")["versions"]["litemill-fieldkit"] == "1.2.0"
    again = litemill(place, installed, *words)
    assert "= ptq-source" in again and "= benchmark-flash-source" in again
