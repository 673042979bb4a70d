"""The images: what they hold, what they don't, and that they run without any privilege."""

from __future__ import annotations

import json

import pytest

from litemill import __version__
from tests.e2e.conftest import Engine

pytestmark = pytest.mark.e2e


def test_the_light_image_is_light(engine: Engine) -> None:
    size = int(engine("image", "inspect", "--format", "{{.Size}}", engine.edge).stdout)

    assert size < 800e6


@pytest.mark.parametrize("name", ["train", "edge"])
def test_an_image_names_itself_and_its_user(engine: Engine, name: str) -> None:
    (found,) = json.loads(engine("image", "inspect", getattr(engine, name)).stdout)

    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"] == ["litemill"]
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"litemill-{name}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert len(labels["org.opencontainers.image.revision"]) == 40


@pytest.mark.parametrize("name", ["train", "edge"])
def test_an_image_runs_without_privileges_on_a_read_only_root(engine: Engine, name: str) -> None:
    script = "id -u; touch /opt/x 2>&1; mktemp; litemill --version; python3 -c 'import kfp; print(kfp.__version__)'"

    done = engine.read_only(getattr(engine, name), "sh", "-c", script)

    user, refused, written, version, kfp = done.stdout.splitlines()[-5:]
    assert user == "10001"
    assert "Read-only file system" in refused
    assert written.startswith("/tmp/")
    assert __version__ in version
    assert kfp.startswith("2.17.")
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["train", "edge"])
def test_no_build_tools_are_left_and_everything_is_compiled(engine: Engine, name: str) -> None:
    script = (
        "command -v gcc g++ make uv git /opt/litemill/bin/pip; cd /opt/litemill/lib/python3*/site-packages &&"
        " ls litemill/__pycache__/errors.*.pyc numpy/__pycache__/__init__.*.pyc"
    )

    answer = engine.read_only(getattr(engine, name), "sh", "-c", script).stdout.split()

    assert [line.split("/")[0] for line in answer] == ["litemill", "numpy"]


def test_each_image_has_what_its_tasks_import_and_the_light_one_no_tensorflow(engine: Engine) -> None:
    light = (
        "import litemill.evaluate, litemill.benchmark, litemill.track, litemill.stages.release, mlflow, tflite_micro"
    )
    heavy = (
        "import litemill.convert.bundle, litemill.convert.worker, litemill.compress.train, "
        "tensorflow, tf_keras, tensorflow_model_optimization, tflite_micro"
    )

    assert engine.read_only(engine.edge, "python3", "-c", light).returncode == 0
    assert "No module named 'tensorflow'" in engine.read_only(engine.edge, "python3", "-c", "import tensorflow").stderr
    done = engine.read_only(engine.train, "python3", "-c", heavy, options=("--env", "TF_USE_LEGACY_KERAS=1"))
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_tools_that_targets_need_are_there(engine: Engine) -> None:
    done = engine.read_only(engine.edge, "sh", "-c", "ssh -V 2>&1; vela --version; python3 -c 'import adbutils'")

    assert done.returncode == 0, done.stderr
    assert "OpenSSH" in done.stdout
