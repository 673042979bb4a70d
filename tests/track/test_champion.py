"""The champion of the registry in a run: fetched by its digest, judged on the same samples, measured in one session."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import litemill as lm
from litemill.artifacts.bundle import read_bundle
from litemill.artifacts.files import sha256_of, write_manifest
from litemill.artifacts.layout import SAMPLES, TFLITE, TFLM_TFLITE, VARIANT
from litemill.artifacts.proof import DamagedFile
from litemill.config.run import BASELINE, CHAMPION
from litemill.errors import InputError
from litemill.evidence.variant import VariantManifest
from litemill.pipelines.failures import LEFT
from litemill.slim.lut_files import lut_file
from litemill.slim.rewrite import slim
from litemill.track.flavor import save_model
from tests.int8_files import Layer, int8_file
from tests.workshop import workshop


def register(folder: Path, sha256: str) -> str:
    """Make a folder the first version of a registered model, and that its champion."""
    from litemill.track.store import store_errors

    with store_errors("register") as client:
        client.create_registered_model("door")
        made = client.create_model_version("door", folder.as_uri(), tags={"litemill.sha256": sha256})
        client.set_registered_model_alias("door", CHAMPION, made.version)
    return str(made.version)


@pytest.mark.e2e
def test_a_champion_is_judged_and_measured_beside_the_variants(store: Path) -> None:
    shop, host = workshop(), {"device": "host", "seconds": 0.2}
    assert not lm.champion_version("door").there
    none = lm.champion("door", out="none")
    assert (none.status, none.reason) == ("failed", "there is no champion of door yet")

    old = store / "old"
    shutil.copytree(shop.bundle / "float32", old)
    (old / VARIANT).unlink()  # a file that something else registered: all is read from it
    version = register(old, shop.manifests["float32"].sha256)
    fetched = lm.champion("door", out="champion")
    assert fetched.champion and (fetched.champion.version, fetched.recipe) == (version, CHAMPION)
    assert fetched.graph and fetched.size_bytes == (old / TFLITE).stat().st_size

    shutil.copytree(shop.bundle / "float32", store / "baseline" / BASELINE)
    shutil.copytree(shop.bundle / "int8", store / "variants" / "int8")
    lm.evaluate("baseline", shop.dataset, out="reference")
    for name in ("variants", CHAMPION):
        lm.evaluate(name, shop.dataset, out=f"{name}-evaluation", reference="reference")
    measured = lm.benchmark(
        host, "variants", baseline="baseline", dataset=shop.dataset, out="measured", champion="champion"
    )
    ratio = measured["int8"].ratio_to_champion
    assert ratio and ratio.ci[0] <= ratio.value <= ratio.ci[1]
    assert set(measured) == {"int8"}

    results = lm.compare(
        ["variants", CHAMPION],
        ["variants-evaluation", "champion-evaluation"],
        ["measured"],
        out="results",
        reference="reference",
        budget={"max_accuracy_drop": 0.05, "max_class_drop": 0.5, "min_accuracy": 0.5},
    )
    assert results.winner == "int8" and [row.recipe for row in results.variants] == ["int8"]
    assert results.champion and results.champion.version.version == version
    proof = results.variants[0].proof
    assert proof.champion_drop and proof.class_drop and proof.accuracy and proof.champion_class_drop
    assert f"door version {version}" in Path("results/summary.md").read_text()
    stored = json.loads(Path("results/results.json").read_text())
    assert stored["champion"]["version"]["name"] == "door" and stored["family"]["variants"] == 1
    assert not list(Path("results").rglob(SAMPLES))


def test_a_champion_keeps_its_file_with_look_up_tables(store: Path) -> None:
    folder, saved = store / "variant", store / "saved"
    folder.mkdir()
    (folder / TFLITE).write_bytes(slim(int8_file(Layer("conv", 48, values=4), Layer("dense", 10))))
    report = lut_file(folder / TFLITE, folder / TFLM_TFLITE, arena_limit=1 << 20)
    digest = sha256_of(folder / TFLITE)
    manifest = VariantManifest(recipe="small", steps=["int8"], scheme="int8", sha256=digest, lut=report)
    write_manifest(folder / VARIANT, manifest)
    save_model(folder / TFLITE, saved, evidence=folder, tables=folder / TFLM_TFLITE)
    register(saved, digest)

    found = lm.champion("door", out="champion")
    assert found.lut == report and found.sha256 == digest
    place = Path("champion") / CHAMPION
    assert (place / TFLM_TFLITE).read_bytes() == (folder / TFLM_TFLITE).read_bytes()
    assert read_bundle(Path("champion"))[CHAMPION].status == "ok"
    (saved / TFLM_TFLITE).unlink()
    without = lm.champion("door", out="without")
    assert without.lut is None and not (Path("without") / CHAMPION / TFLM_TFLITE).exists()


def test_another_file_than_the_registry_has_on_record_is_not_used(store: Path) -> None:
    old = store / "old"
    shutil.copytree(workshop().bundle / "int8", old)
    register(old, "0" * 64)
    with pytest.raises(DamagedFile, match="the registry says 000000000000"):
        lm.champion("door", out="champion")
    with pytest.raises(InputError, match="door"):
        lm.champion("door", version="7", out="champion")


def test_a_failed_fetch_leaves_a_champion_that_says_why(tmp_path: Path) -> None:
    arguments = {"registered_model": "door", "version": "3", "sha256": "c"}
    LEFT["champion"](tmp_path, arguments, "task champion failed: unreachable")
    left = json.loads((tmp_path / CHAMPION / VARIANT).read_text())
    assert (left["status"], left["champion"]["version"]) == ("failed", "3")
    assert left["reason"] == "task champion failed: unreachable"
