"""Benchmarking a bundle on this host: what is in the evidence, and what broken input gets."""

import shutil
from pathlib import Path

import pytest

from litemill.artifacts.files import read_manifest, sha256_of, write_manifest
from litemill.benchmark import benchmark_bundle, check_target
from litemill.errors import ConfigError, InputError
from litemill.evidence.outcome import Measurement
from litemill.evidence.variant import VariantManifest


@pytest.fixture(scope="module")
def measured(
    bundle: Path, baseline: Path, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Measurement], Path]:
    """The digits bundle with a failed recipe, a file that is no model, and a file that LiteRT refuses."""
    folder = tmp_path_factory.mktemp("measured")
    variants = folder / "variants"
    shutil.copytree(bundle, variants)
    good = read_manifest(bundle / "int8" / "variant.json", VariantManifest)
    refused = VariantManifest(recipe="refused", steps=["int8"], scheme="int8", status="failed", reason="scale is 0.0")
    write_manifest(variants / "refused" / "variant.json", refused)
    for recipe, content in (("broken", b"\x1c\0\0\0TFL3" + b"\0" * 100), ("damaged", None)):
        file = variants / recipe / "model.tflite"
        file.parent.mkdir()
        file.write_bytes(content or (bundle / "int8" / "model.tflite").read_bytes())
        listed = good.model_copy(update={"recipe": recipe, "sha256": sha256_of(file)})
        write_manifest(file.parent / "variant.json", listed)
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    return benchmark_bundle("host", variants, baseline, digits_dataset, folder / "out"), folder / "out"


def test_every_working_variant_has_its_evidence(measured: tuple[dict[str, Measurement], Path]) -> None:
    found, _ = measured
    for recipe in ("float32", "float16", "dynamic", "int8"):
        one = found[recipe]
        assert (one.status, one.reason, one.kind, one.recipe, one.target) == ("ok", "", "measured", recipe, "host")
        assert (one.requested_accelerator, one.actual_accelerator) == ("cpu", "cpu")
        assert 0 < one.latency_ms["p50"] <= one.latency_ms["p90"]
        low, high = one.latency_ci_ms["p50"]
        assert low <= one.latency_ms["p50"] <= high
        assert one.ratio_to_float32 is not None
        assert one.ratio_to_float32.ci[0] <= one.ratio_to_float32.value <= one.ratio_to_float32.ci[1]
        assert one.comparison in ("faster", "slower", "no difference shown")
        assert one.init_ms and one.first_inference_ms and one.init_ms > 0 and one.first_inference_ms > 0
        assert one.peak_memory_bytes and one.peak_memory_bytes > one.details["memory_before_load_bytes"] > 10e6
        assert one.parity and one.parity.ok and one.parity.samples == 8
        assert one.delegated_fraction and one.delegated_fraction > 0.5
        assert ("p99" in one.latency_ms) == (one.runs >= 2000)
        assert one.device["cores"] >= 1 and one.device["ai-edge-litert"] and one.device["threads"] == 1
        assert set(one.device["state"]) == {"before", "after"}


def test_a_file_equal_to_the_baseline_is_not_measured_twice(measured: tuple[dict[str, Measurement], Path]) -> None:
    one = measured[0]["float32"]
    assert one.details["identical_to"] == "baseline"
    assert one.ratio_to_float32 and one.ratio_to_float32.ci == (1.0, 1.0)
    assert one.latency_ms["p50"] == one.details["baseline_p50_ms"]
    assert "identical_to" not in measured[0]["int8"].details


def test_a_failed_recipe_is_passed_on_and_a_broken_file_takes_nobody_along(
    measured: tuple[dict[str, Measurement], Path],
) -> None:
    found, _ = measured
    assert (found["refused"].status, found["refused"].reason) == ("failed", "scale is 0.0")
    assert found["broken"].status == "failed"
    assert found["broken"].reason.startswith("the runner ")
    assert not found["broken"].latency_ms
    assert found["damaged"].status == "failed" and "model.tflite: has digest" in found["damaged"].reason


def test_what_is_returned_is_what_is_written(measured: tuple[dict[str, Measurement], Path]) -> None:
    found, out = measured
    assert {path.name for path in out.iterdir()} == set(found)
    for recipe, one in found.items():
        assert read_manifest(out / recipe / "measurement.json", Measurement) == one


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"^target: unknown target 'hots'; did you mean 'host'\?$"):
        check_target("hots")


def test_a_folder_that_is_no_bundle_is_refused(
    baseline: Path, bundle: Path, digits_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no variants"):
        benchmark_bundle("host", tmp_path / "empty", baseline, digits_dataset, tmp_path / "out")
    with pytest.raises(InputError, match="no usable baseline: it holds no such variant"):
        benchmark_bundle("host", bundle, bundle, digits_dataset, tmp_path / "out")
    shutil.copytree(bundle, tmp_path / "torn")
    (tmp_path / "torn" / "int8" / "model.tflite").unlink()
    with pytest.raises(InputError, match=r"int8/model\.tflite: is missing"):
        benchmark_bundle("host", tmp_path / "torn", baseline, digits_dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
