"""Fixtures shared by all tests: one tiny trained model and its data set, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from litemill.data import Splits, prepare_data
from litemill.evidence import ModelManifest
from litemill.spec import DataSpec, Limit, Preprocessing


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
    from litemill.models import save_model
    from litemill.models.store import write_keras

    folder = tmp_path_factory.mktemp("digits_model")
    model = train(Splits.open(digits_dataset), filters=8, epochs=12)
    write_keras(model, folder / "digits.keras")
    save_model(model, ModelManifest(origin="digits.keras", origin_sha256="0" * 64), folder / "model")
    return folder / "model"
