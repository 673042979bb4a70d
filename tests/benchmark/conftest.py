"""One bundle of real variants for all benchmark tests: the digits CNN by four schemes, and its float32 baseline."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.artifacts.files import read_manifest
from litemill.benchmark.session import Subject
from litemill.convert.bundle import convert_bundle
from litemill.data.splits import Splits
from litemill.evidence.variant import VariantManifest

RECIPES = {scheme: [{"name": scheme}] for scheme in ("float32", "float16", "dynamic", "int8")}
FLOAT_IO = {"int8-float-io": [{"name": "int8", "options": {"io": "float32"}}]}


@pytest.fixture(scope="session")
def bundle(digits_model: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variants bundle: one recipe a scheme, named like it, and int8 with float inputs and outputs. Read only."""
    out = tmp_path_factory.mktemp("benchmark") / "variants"
    convert_bundle(digits_model, RECIPES | FLOAT_IO, out, dataset=digits_dataset)
    return out


@pytest.fixture(scope="session")
def baseline(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with the float32 baseline. Read only."""
    out = tmp_path_factory.mktemp("benchmark") / "baseline"
    convert_bundle(digits_model, {"baseline": [{"name": "float32"}]}, out)
    return out


@pytest.fixture
def subjects(bundle: Path) -> dict[str, Subject]:
    """What there is to measure, by recipe."""
    found = {}
    for path in sorted(bundle.iterdir()):
        manifest = read_manifest(path / "variant.json", VariantManifest)
        found[path.name] = Subject.of(manifest, path / "model.tflite")
    return found


@pytest.fixture
def samples(digits_dataset: Path) -> NDArray[np.float32]:
    """Eight real samples."""
    return np.asarray(Splits.open(digits_dataset).test.x[:8])
