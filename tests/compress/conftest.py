"""The train-aware steps and their combinations on the tiny digits model, each trained once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from litemill.compress import cluster_model, finetune_model, prune_model, qat_model
from litemill.spec import Training
from litemill.steps import ClusterOptions, FinetuneOptions, PruneOptions, QatOptions

TRAINING = Training(epochs=2, batch_size=64, learning_rate=2e-3)


@pytest.fixture(autouse=True, scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
            run, options = {
                "finetune": (finetune_model, FinetuneOptions()),
                "prune": (prune_model, PruneOptions()),
                "prune24": (prune_model, PruneOptions(m_by_n=(2, 4))),
                "cluster": (cluster_model, ClusterOptions()),
                "qat": (qat_model, QatOptions()),
            }[last]
            out = tmp_path_factory.mktemp("steps") / name
            run(make(before), digits_dataset, options, TRAINING, out, digits_model)  # type: ignore[operator]
            made[name] = out
        return made[name]

    return make
