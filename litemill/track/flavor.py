"""A flavor of MLflow for `.tflite` files: what MLflow does with a model of any library, it does with them.

    import litemill.track.flavor as tflite
    tflite.log_model("model.tflite", interface={"preprocessing": {"scale": 1 / 255}, "labels": ["a", "b"]})
    tflite.load_model("models:/doorbell@champion").predict(images)

`mlflow models predict` and `mlflow models serve` run it through LiteRT: raw samples go in, the recorded preprocessing
is done to them, and a classifier answers with labels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from litemill import __version__
from litemill.artifacts.files import read_manifest, sha256_of, write_manifest
from litemill.artifacts.inputs import named
from litemill.artifacts.layout import TFLITE, TFLM_TFLITE
from litemill.artifacts.proof import check_digest
from litemill.config.base import Section, first_mistake
from litemill.errors import ConfigError, InputError
from litemill.evidence.interface import Interface
from litemill.runtime.runner import Runner
from litemill.track.serving import TfliteModel

FLAVOR_NAME = "tflite"
INTERFACE = "interface.json"
EVIDENCE = "evidence"
EXAMPLE, SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"
MODULE = "litemill.track.flavor"
PACKAGES = ("ai-edge-litert", "numpy", "pandas")
"""What a model needs besides Litemill to be served, in the versions that are installed here."""
EXAMPLES = 1


def save_model(
    tflite_model: str | Path,
    path: str | Path,
    *,
    interface: Interface | Mapping[str, Any] | None = None,
    evidence: str | Path | None = None,
    tables: str | Path | None = None,
    mlflow_model: Any = None,
) -> None:
    """Save a `.tflite` as an MLflow model. Signature and input example are read from the file.

    Args:
        tflite_model: The file.
        path: Folder to write; it must not exist yet.
        interface: What raw samples and outputs are: `preprocessing`, `labels`, `task`, `output`, `output_is`.
        evidence: Folder with what was found about it, kept beside it.
        tables: The same model with look-up tables for microcontrollers, kept beside it.
        mlflow_model: MLflow's description to complete, where MLflow calls this itself.

    Raises:
        InputError: LiteRT cannot open the file, or `path` is there already.
        ConfigError: The interface has a wrong value.
    """
    from mlflow.models import Model

    place, source = Path(path), Path(tflite_model)
    known = _interface(interface)
    runner = Runner(source, batch=1, output=known.output)
    if place.exists() and any(place.iterdir()):
        raise InputError("exists already and is not empty", where=str(place), fix="Name another folder")
    place.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place / TFLITE)
    if tables is not None:
        shutil.copyfile(tables, place / TFLM_TFLITE)
    write_manifest(place / INTERFACE, known)
    if evidence is not None:
        shutil.copytree(evidence, place / EVIDENCE, ignore=shutil.ignore_patterns("*.tflite", "*.npz"))
    described = mlflow_model or Model()
    described.signature = _signature(runner, known)
    described.saved_input_example_info = _write_example(place, runner)
    described.flavors[FLAVOR_NAME] = {
        "data": TFLITE,
        "interface": INTERFACE,
        "sha256": sha256_of(place / TFLITE),
        "litert_version": _version("ai-edge-litert"),
        "code": None,
        **({"tables": TFLM_TFLITE, "tables_sha256": sha256_of(place / TFLM_TFLITE)} if tables is not None else {}),
    }
    described.flavors["python_function"] = {
        "loader_module": MODULE,
        "python_version": _python(),
        "env": {"virtualenv": "python_env.yaml"},
    }
    _write_environment(place)
    described.save(str(place / "MLmodel"))


def log_model(tflite_model: str | Path, name: str = "model", **options: Any) -> Any:
    """Log a `.tflite` to MLflow's active run as a model, as `log_model` of MLflow's own flavors does.

    Args:
        tflite_model: The file.
        name: Of the model in the run.
        options: `interface`, `evidence` and `tables` as `save_model` has them, and what `mlflow.models.Model.log`
            takes, such as `registered_model_name`.

    Returns:
        MLflow's `ModelInfo`.
    """
    import sys

    from mlflow.models import Model

    return Model.log(
        artifact_path=None, name=name, flavor=sys.modules[MODULE], tflite_model=str(tflite_model), **options
    )


def load_model(model_uri: str, dst_path: str | None = None) -> TfliteModel:
    """Load a `.tflite` that was saved or logged with this flavor.

    Args:
        model_uri: Local folder, `models:/name@alias`, `models:/name/version` or `runs:/id/name`.
        dst_path: Folder to copy it to; a temporary one without it.

    Raises:
        InputError: It is not a model of this flavor.
        DamagedFile: The file is not the one that was saved.
    """
    if Path(model_uri).is_dir():
        return open_folder(Path(model_uri))
    from mlflow.artifacts import download_artifacts

    from litemill.track.store import tracking_uri

    place = tracking_uri()
    got = download_artifacts(artifact_uri=model_uri, dst_path=dst_path, tracking_uri=place, registry_uri=place)
    return open_folder(Path(got))


def open_folder(folder: Path) -> TfliteModel:
    """Open a model in a local folder; its file is held against the digest that was recorded.

    Raises:
        InputError: It is not a model of this flavor.
        DamagedFile: The file is not the one that was saved.
    """
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        recorded = described["flavors"][FLAVOR_NAME]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise InputError(f"is not a model of the flavor {FLAVOR_NAME}", where=str(folder)) from None
    file = folder / str(recorded["data"])
    check_digest(file, str(recorded["sha256"]))
    if "tables" in recorded:
        check_digest(folder / str(recorded["tables"]), str(recorded["tables_sha256"]))
    return TfliteModel(file, read_manifest(folder / str(recorded["interface"]), Interface))


def _load_pyfunc(path: str) -> Any:
    """MLflow's entry: what `mlflow.pyfunc.load_model` wraps."""
    place = Path(path)
    return open_folder(place if place.is_dir() else place.parent)


def _interface(written: Interface | Mapping[str, Any] | None) -> Interface:
    from pydantic import ValidationError

    try:
        return written if isinstance(written, Interface) else Interface.model_validate(dict(written or {}))
    except ValidationError as error:
        raise ConfigError(first_mistake(error, Section), where="interface") from None


def _signature(runner: Runner, interface: Interface) -> Any:
    """MLflow's signature: the file's inputs as raw samples, and the answers."""
    import numpy as np
    from mlflow.types.schema import Array, ColSpec, DataType, Schema, TensorSpec

    def dtype(info: Mapping[str, Any]) -> Any:
        return (
            np.dtype(np.float32) if info["quantization"][0] or info["dtype"] == np.float16 else np.dtype(info["dtype"])
        )

    inputs = Schema(
        [
            TensorSpec(dtype(info), (-1, *runner.sample_shapes[name]), name or None)
            for name, info in runner.inputs.items()
        ]
    )
    answers = Schema([TensorSpec(np.dtype(np.float32), (-1, *(int(one) for one in runner.output["shape"][1:])))])
    if interface.task == "classification":
        columns: list[tuple[str, Any]] = [
            ("label", DataType.string),
            ("score", DataType.double),
            ("scores", Array(DataType.double)),
        ]
        answers = Schema([ColSpec(kind, name) for name, kind in columns])
    try:
        from mlflow.models.signature import ModelSignature
    except ImportError:  # without pandas, as in the light image
        return _PlainSignature(inputs, answers)
    return ModelSignature(inputs, answers)


class _PlainSignature:
    """What MLflow's ModelSignature writes, where it cannot be imported for want of pandas."""

    _is_signature_from_type_hint = _is_type_hint_from_example = False

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs, self.outputs, self.params = inputs, outputs, None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in `MLmodel`."""
        return {"inputs": self.inputs.to_json(), "outputs": self.outputs.to_json(), "params": None}


def _write_example(folder: Path, runner: Runner) -> dict[str, Any]:
    """An input made up from the file's own inputs, in the form in which it is served."""
    parts = {name: part.tolist() for name, part in named(runner.noise(EXAMPLES)).items()}
    text = json.dumps({"inputs": parts[""] if set(parts) == {""} else parts})
    for name in (EXAMPLE, SERVED_EXAMPLE):
        (folder / name).write_text(text, encoding="utf-8")
    return {
        "artifact_path": EXAMPLE,
        "serving_input_path": SERVED_EXAMPLE,
        "type": "ndarray",
        "format": "tf-serving",
    }


def _write_environment(folder: Path) -> None:
    lines = [f"litemill=={__version__}"]
    lines += [f"{name}=={_version(name)}" for name in PACKAGES if _version(name)]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {"python": _python(), "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _python() -> str:
    import platform

    return platform.python_version()
