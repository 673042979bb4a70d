"""Models kept in MLflow as the source of a run: `models:/name@alias`, `models:/name/version`, `runs:/id/path`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from litemill.artifacts.files import sha256_of
from litemill.artifacts.storage import digest, fetch, publish, resolve
from litemill.errors import InputError, LitemillError
from litemill.models.backend import tf_keras
from litemill.models.keras3 import keras3
from litemill.models.peek import peek
from litemill.models.source import load_source
from litemill.models.store import load_model
from litemill.stages.import_model import import_model
from litemill.track.store import tracking_uri


@pytest.fixture
def client(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A client of an empty store, with an experiment `models` and an empty cache of fetched objects."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    made = MlflowClient(tracking_uri=tracking_uri())
    made.create_experiment("models", artifact_location=(tmp_path / "artifacts").as_uri())
    return made


def logged(client: MlflowClient, *files: Path, inside: str | None = None) -> str:
    """Id of a new run with files as artifacts."""
    experiment = client.get_experiment_by_name("models")
    assert experiment
    run = str(client.create_run(experiment.experiment_id).info.run_id)
    for file in files:
        client.log_artifact(run, str(file), inside)
    return run


def registered(client: MlflowClient, run: str, path: str, alias: str = "champion") -> str:
    """Number of a new version of the model `digits`."""
    if not client.search_registered_models():
        client.create_registered_model("digits")
    version = str(client.create_model_version("digits", f"runs:/{run}/{path}", run_id=run).version)
    client.set_registered_model_alias("digits", alias, version)
    return version


def answer(uri: str) -> str:
    with pytest.raises(InputError) as error:
        fetch(uri)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_logged_file_is_kept_once_under_its_digest(client: MlflowClient, digits_model: Path) -> None:
    source = digits_model.parent / "digits.keras"
    run = logged(client, source, inside="model")
    uri = f"runs:/{run}/model/digits.keras"
    assert digest(uri) == sha256_of(source)
    path = fetch(uri)
    assert path.name == "digits.keras" and path.read_bytes() == source.read_bytes()
    written = path.stat().st_mtime_ns
    assert fetch(uri, sha256=sha256_of(source)) == path and path.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="is not a place to publish to"):
        publish(path.parent, f"runs:/{run}", "v1")


def test_a_registered_model_is_imported_with_its_version_and_digest(
    client: MlflowClient, digits_model: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    run = logged(client, digits_model.parent / "digits.keras", inside="model")
    registered(client, run, "model")
    uri = "models:/digits@champion"
    assert resolve(uri) == "models:/digits/1" and peek(fetch(uri)).input_shape == (8, 8, 1)
    manifest = import_model(
        uri, digits_dataset, out=tmp_path / "model", baseline=tmp_path / "baseline", sha256=digest(uri)
    )
    assert (manifest.origin, manifest.resolved) == (uri, "models:/digits/1")
    assert manifest.trainable and manifest.origin_sha256 == digest("models:/digits/1") == sha256_of(fetch(uri))


def test_an_alias_that_moved_during_a_run_is_told(client: MlflowClient, digits_model: Path, tmp_path: Path) -> None:
    registered(client, logged(client, digits_model.parent / "digits.keras", inside="model"), "model")
    before = digest("models:/digits@champion")
    (tmp_path / "other.keras").write_bytes(b"another model")
    assert registered(client, logged(client, tmp_path / "other.keras", inside="model"), "model") == "2"
    assert digest("models:/digits@champion") != before
    assert digest("models:/digits/1") == before
    with pytest.raises(InputError, match=r"models:/digits/2: was changed since the run began\. Start the run again"):
        fetch(resolve("models:/digits@champion"), sha256=before)


def keras_flavor(keras: Any, folder: str) -> None:
    import mlflow.keras

    mlflow.keras.save_model(keras, folder, pip_requirements=[])


def keras_flavor_saved_model(keras: Any, folder: str) -> None:
    import mlflow.keras
    from mlflow.types import Schema, TensorSpec

    signature = mlflow.models.ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 6))]))
    mlflow.keras.save_model(keras, folder, pip_requirements=[], save_exported_model=True, signature=signature)


def tensorflow_flavor(keras: Any, folder: str) -> None:
    import mlflow.tensorflow

    mlflow.tensorflow.save_model(keras, folder, pip_requirements=[])


@pytest.mark.parametrize(
    ("flavor", "is_keras3", "kind"),
    [
        (keras_flavor, True, "keras3"),
        (keras_flavor_saved_model, True, "saved_model"),
        (tensorflow_flavor, False, "keras2"),
    ],
)
def test_the_flavors_of_mlflow_are_read(
    flavor: Any, is_keras3: bool, kind: str, client: MlflowClient, tmp_path: Path
) -> None:
    keras = keras3() if is_keras3 else tf_keras()
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3, name="head")])
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    flavor(model, str(tmp_path / "saved"))
    run = logged(client, *sorted((tmp_path / "saved").iterdir()), inside="model")
    registered(client, run, "model")
    source = load_source(fetch("models:/digits/1"))
    assert source.facts.format == kind and (tmp_path / "cache") in source.facts.path.parents
    np.testing.assert_allclose(source.predict(x), model.predict(x, verbose=0), rtol=1e-5)


def test_what_is_not_there_is_told(client: MlflowClient, digits_model: Path, tmp_path: Path) -> None:
    run = logged(client, digits_model.parent / "digits.keras", inside="model")
    registered(client, run, "model")
    assert "model 'digits' has no alias 'best'; it has champion (version 1)" in answer("models:/digits@best")
    assert "Model Version (name=digits, version=9) not found" in answer("models:/digits/9")
    assert "Registered Model with name=other not found" in answer("models:/other@champion")
    assert "Run with id=abc not found" in answer("runs:/abc/model")
    assert "Failed to download artifacts from path 'none'" in answer(f"runs:/{run}/none")
    for wrong in ("models:/digits", f"runs:/{run}", "models:/digits@a@b"):
        assert "is no address of a file in MLflow: models:/<name>@<alias>" in answer(wrong)


def test_a_folder_without_a_model_or_with_several_is_told(
    client: MlflowClient, digits_model: Path, tmp_path: Path
) -> None:
    source = digits_model.parent / "digits.keras"
    (tmp_path / "copy.keras").write_bytes(source.read_bytes())
    (tmp_path / "notes.txt").write_text("nothing")
    run = logged(client, source, tmp_path / "copy.keras", inside="two")
    client.log_artifact(run, str(tmp_path / "notes.txt"), "none")
    with pytest.raises(InputError, match=r"is a folder with 2 models: copy\.keras, digits\.keras\. Name one of them"):
        peek(fetch(f"runs:/{run}/two"))
    assert peek(fetch(f"runs:/{run}/two/copy.keras")).format == "keras2"
    with pytest.raises(InputError, match=r"no SavedModel, and no \.keras, \.h5, \.hdf5, \.tflite file is in it"):
        peek(fetch(f"runs:/{run}/none"))


def test_without_a_store_the_variable_to_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "there is no MLflow store at sqlite:///" in answer("models:/digits@champion")
    assert "Set MLFLOW_TRACKING_URI" in answer("models:/digits@champion")
    assert not list(tmp_path.iterdir()), "looking for a model makes no store"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(LitemillError, match=r"MLflow at http://127\.0\.0\.1:9: cannot look up models:/digits@champion"):
        fetch("models:/digits@champion")


def test_a_graph_from_mlflow_serves_as_well(client: MlflowClient, digits_model: Path, tmp_path: Path) -> None:
    load_model(digits_model).export(str(tmp_path / "graph"))
    run = logged(client, tmp_path / "graph")
    assert peek(fetch(f"runs:/{run}/graph")).format == "saved_model"
