"""The Model artifact: written, read back, deterministic, and good enough to be worth compressing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litemill.artifacts.files import read_manifest, sha256_of, write_manifest
from litemill.data.splits import Splits
from litemill.errors import InputError, StepFailed
from litemill.evidence.sources import ModelManifest
from litemill.models.backend import tensorflow
from litemill.models.store import load_model, save_model


def test_the_shared_model_has_learned_the_digits(digits_model: Path, digits_dataset: Path) -> None:
    test = Splits.open(digits_dataset).test
    scores = load_model(digits_model).predict(test.x, verbose=0)
    assert np.mean(scores.argmax(1) == test.y) > 0.9


def test_manifest_tells_shapes_and_size(digits_model: Path) -> None:
    manifest = read_manifest(digits_model / "model.json", ModelManifest)
    assert [(i.name, i.shape, i.dtype) for i in manifest.inputs] == [("image", [-1, 8, 8, 1], "float32")]
    assert [(o.shape, o.dtype) for o in manifest.outputs] == [([-1, 10], "float32")]
    assert manifest.parameters == load_model(digits_model).count_params()


def test_the_same_model_gives_the_same_digest_and_file(digits_model: Path, tmp_path: Path) -> None:
    model, origin = load_model(digits_model), ModelManifest(origin="x", origin_sha256="")
    first = save_model(model, origin, tmp_path / "a")
    again = save_model(load_model(tmp_path / "a"), origin, tmp_path / "b")
    assert first.sha256 == again.sha256
    assert sha256_of(tmp_path / "a/model.keras") == sha256_of(tmp_path / "b/model.keras")
    kernel = model.layers[1].kernel
    kernel.assign(kernel + 1e-6)
    assert save_model(model, origin, tmp_path / "c").sha256 != first.sha256


def test_the_saved_model_is_the_model_for_any_batch(digits_model: Path, digits_dataset: Path) -> None:
    x = Splits.open(digits_dataset).test.x[:7]
    serve = tensorflow().saved_model.load(str(digits_model / "saved_model")).signatures["serving_default"]
    (outputs,) = serve(image=tensorflow().constant(x)).values()
    np.testing.assert_allclose(outputs, load_model(digits_model).predict(x, verbose=0), atol=1e-6)
    assert serve(image=tensorflow().constant(x[:1]))


def test_a_failed_step_passes_its_reason_on(tmp_path: Path) -> None:
    failed = ModelManifest(status="failed", reason="sparsity 0.1 reached, 0.5 asked", origin="x", origin_sha256="")
    write_manifest(tmp_path / "model.json", failed)
    with pytest.raises(StepFailed, match=r"sparsity 0.1 reached, 0.5 asked"):
        load_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.json: cannot read"):
        load_model(tmp_path)
    write_manifest(tmp_path / "model.json", ModelManifest(origin="x", origin_sha256=""))
    with pytest.raises(InputError, match=r"model\.keras: no such file"):
        load_model(tmp_path)
