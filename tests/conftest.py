"""Fixtures shared by all tests: one tiny trained model and its data set, made once a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from litemill.config.run import DataSpec, Limit, Preprocessing, Training
from litemill.config.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evidence.sources import ModelManifest
from litemill.pipelines.preloaded import MODULES
from litemill.process.forks import VARIABLE, ForkServer
from tests.workshop import take

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

MANY = 50
"""Tests of a session from which on a fork server costs less than it saves."""
TRAINING = Training(epochs=2, batch_size=64, learning_rate=2e-3)
"""Of the train-aware steps below: 36 steps of training."""


@pytest.fixture(autouse=True, scope="session")
def forks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers of a long session are forked from a process that has imported TensorFlow, as those of a run are."""
    if request.session.testscollected < MANY:
        yield
        return
    with (tmp_path_factory.mktemp("forks") / "train.log").open("wb") as log:
        server = ForkServer(MODULES["train"], log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(server.handle))
        yield
    server.close()


@pytest.fixture(scope="session")
def digits_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset artifact of the digits: 1,347 train, 100 calibration, 450 test samples of 8×8×1, scaled to [0, 1]."""
    out = tmp_path_factory.mktemp("digits") / "dataset"
    spec = DataSpec(kind="digits", preprocessing=Preprocessing(scale=1 / 16), limit=Limit(calibration=100))
    prepare_data(spec, 0, out)
    return out


@pytest.fixture(scope="session")
def digits_model(digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model artifact of a small CNN (Conv, DepthwiseConv, BatchNorm, ReLU, Dense) trained on the digits.

    Read only: copy it before changing anything. Its source file is `digits.keras` beside it.
    """
    from examples.digits.train import train
    from litemill.models.backend import tf_keras
    from litemill.models.store import save_model, write_keras

    folder = tmp_path_factory.mktemp("digits_model")
    # Keras numbers the names of layers over a whole session; tests name them.
    tf_keras().backend.clear_session()
    model = train(Splits.open(digits_dataset), filters=8, epochs=12)
    write_keras(model, folder / "digits.keras")
    save_model(model, ModelManifest(origin="digits.keras", origin_sha256="0" * 64), folder / "model")
    return folder / "model"


@pytest.fixture(autouse=True, scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Checkpoints of the tests stay among the tests' files."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITEMILL_CHECKPOINTS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def step(digits_model: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A Model artifact by the steps it went through, e.g. `prune-cluster-qat`; each prefix is trained once."""
    made: dict[str, Path] = {"": digits_model}

    def make(name: str) -> Path:
        if name not in made:
            before, _, last = name.rpartition("-")
            options = {
                "finetune": FinetuneOptions(),
                "prune": PruneOptions(),
                "prune24": PruneOptions(m_by_n=(2, 4)),
                "cluster": ClusterOptions(),
                "qat": QatOptions(),
            }[last]
            out = tmp_path_factory.mktemp("steps") / name
            take(make(before), digits_dataset, options, TRAINING, out, digits_model)
            made[name] = out
        return made[name]

    return make
