"""One bundle of real variants for all benchmark tests: the digits CNN by four schemes, and its float32 baseline."""

from pathlib import Path

import pytest

from litemill.convert import convert_bundle

SCHEMES = ("float32", "float16", "dynamic", "int8")


@pytest.fixture(scope="session")
def bundle(digits_model: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variants bundle: one recipe a scheme, named like it. Read only."""
    out = tmp_path_factory.mktemp("benchmark") / "variants"
    convert_bundle(digits_model, {scheme: [{"name": scheme}] for scheme in SCHEMES}, out, dataset=digits_dataset)
    return out


@pytest.fixture(scope="session")
def baseline(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with the float32 baseline. Read only."""
    out = tmp_path_factory.mktemp("benchmark") / "baseline"
    convert_bundle(digits_model, {"baseline": [{"name": "float32"}]}, out)
    return out
