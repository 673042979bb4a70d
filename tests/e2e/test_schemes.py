"""Every scheme on the demo's model and on a Fashion-MNIST CNN: converted, proved and evaluated against float32.

Needs the Fashion-MNIST files of Debian's `dataset-fashion-mnist` (or Keras's download).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.digits import train as digits
from examples.fashion_mnist import train as fashion
from litemill.config.data_kinds import Kernels
from litemill.config.run import BASELINE, DataSpec, Limit, Preprocessing
from litemill.config.schemes import SCHEMES
from litemill.config.steps import Step, parse_step
from litemill.convert.bundle import convert_bundle
from litemill.data.prepare import prepare_data
from litemill.data.splits import Splits
from litemill.evaluate import evaluate_bundle
from litemill.evidence.sources import ModelManifest
from litemill.evidence.variant import VariantManifest
from litemill.models.store import save_model
from tests.workshop import RECIPES

pytestmark = pytest.mark.e2e

FASHION = DataSpec(
    kind="fashion_mnist", preprocessing=Preprocessing(scale=1 / 255), limit=Limit(train=12_000, test=1000)
)
LEAST_AGREEMENT = {"float32": 1.0, "float16": 0.998, "weights-int4": 0.9}
"""Fraction of test samples with the baseline's prediction, by scheme; 0.98 for the others."""


@pytest.fixture(scope="module", params=["demo", "fashion"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[VariantManifest]]:
    """A folder with data, baseline and variants of a trained model, and the manifests of the variants."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "demo":
        prepare_data(digits.DATA, digits.SEED, folder / "data")
        model = digits.train(Splits.open(folder / "data"))
    else:
        prepare_data(FASHION, 0, folder / "data")
        model = fashion.train(Splits.open(folder / "data"), epochs=2)
    save_model(model, ModelManifest(origin=request.param, origin_sha256=""), folder / "model")
    convert_bundle(folder / "model", {BASELINE: [Step(name="float32")]}, folder / "baseline", dataset=folder / "data")
    recipes = {name: [parse_step(step) for step in steps] for name, steps in RECIPES.items()}
    return folder, convert_bundle(folder / "model", recipes, folder / "variants", dataset=folder / "data")


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
def test_every_scheme_converts_and_predicts_what_float32_does(
    made: tuple[Path, list[VariantManifest]], kernels: Kernels
) -> None:
    folder, manifests = made
    assert {manifest.scheme for manifest in manifests} == set(SCHEMES)
    reference = folder / f"reference-{kernels}"
    evaluate_bundle(folder / "baseline", folder / "data", reference, kernels=kernels)
    out = folder / kernels
    evaluated = evaluate_bundle(folder / "variants", folder / "data", out, reference, kernels=kernels)
    for manifest in manifests:
        assert manifest.status == "ok", f"{manifest.recipe}: {manifest.reason}"
        assert manifest.slim is not None
        assert manifest.slim.applied, f"{manifest.recipe}: {manifest.slim.reason}"
        found = evaluated[manifest.recipe]
        assert found.status == "ok", f"{manifest.recipe}: {found.reason}"
        assert found.agreement is not None
        assert found.agreement >= LEAST_AGREEMENT.get(manifest.scheme, 0.98), f"{manifest.recipe}: {found.agreement}"
        assert found.value > 0.75, manifest.recipe
        (parity,) = [row for row in manifest.parity if (row.kernels, row.against) == (kernels, "keras")]
        assert parity.agreement is not None
        assert parity.agreement >= LEAST_AGREEMENT.get(manifest.scheme, 0.98) - 0.02, manifest.recipe
