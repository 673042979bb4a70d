"""The `tflm` target, on the real interpreter of microcontrollers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.benchmark import tflm
from litemill.benchmark.session import Subject
from litemill.benchmark.tflm import TflmTarget
from litemill.config.targets import parse_target
from litemill.errors import DeviceError
from litemill.evidence.outcome import Measurement
from litemill.flatbuffer.graph import read_graph
from litemill.runtime import micro
from litemill.slim.lut_files import lut_file
from litemill.slim.rewrite import slim
from tests.int8_files import Layer, int8_file

TARGET = TflmTarget(parse_target("tflm"))


def measure(chosen: Sequence[Subject], samples: NDArray[np.float32]) -> list[Measurement]:
    measured = TARGET.measure(chosen, samples)
    return [measured[subject.sha256] for subject in chosen]


def test_int8_and_float_run_and_equal_the_reference_kernels_bit_for_bit(
    subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    int8, float32 = measure([subjects["int8"], subjects["float32"]], samples)
    for one in (int8, float32):
        assert (one.status, one.kind, one.latency_ms) == ("ok", "measured", {})
        assert one.parity and one.parity.ok and one.parity.max_error == 0.0
        assert one.details["bit_exact"]
    assert int8.arena_bytes and float32.arena_bytes and int8.arena_bytes < float32.arena_bytes
    assert int8.realised_bytes == subjects["int8"].size_bytes


def test_a_scheme_that_a_microcontroller_cannot_run_is_refused_with_the_op(
    subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    float16, int8 = measure([subjects["float16"], subjects["int8"]], samples)
    assert (float16.status, int8.status) == ("failed", "ok")
    assert float16.reason.startswith("TFLM refuses it: ")
    assert "DEQUANTIZE" in float16.reason


def test_the_arena_is_the_smallest_that_works(subjects: dict[str, Subject], samples: NDArray[np.float32]) -> None:
    model, inputs = subjects["int8"].path.read_bytes(), subjects["int8"].raw(samples)
    arena = micro.smallest_arena(model, inputs)
    assert micro.fits(model, inputs, arena)
    assert not micro.fits(model, inputs, arena - micro.STEP)


def test_wrong_answers_fail_the_measurement(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the kernels were wrong: the reference is asked about other samples."""
    reference = tflm.reference_outputs
    monkeypatch.setattr(tflm, "reference_outputs", lambda *asked: np.roll(reference(*asked), 1, axis=0))
    (int8,) = measure([subjects["int8"]], samples)
    assert int8.status == "failed"
    assert int8.reason.startswith("outputs differ by ")
    assert int8.parity and not int8.parity.ok


def test_a_file_that_is_no_model_fails_alone(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(subjects["int8"].path.read_bytes()[:500])
    torn = Subject(**(vars(subjects["int8"]) | {"path": broken, "sha256": "b" * 64}))
    one, other = measure([torn, subjects["int8"]], samples)
    assert (one.status, other.status) == ("failed", "ok")
    assert one.reason


@pytest.mark.parametrize("tables", ["right", "other weights", "torn"])
def test_the_file_with_tables_is_what_counts_if_it_gives_the_same_bits(tables: str, tmp_path: Path) -> None:
    path, out = tmp_path / "model.tflite", tmp_path / "model.tflm.tflite"
    path.write_bytes(slim(int8_file(Layer("conv", 48, values=4), Layer("dense", 10))))
    assert lut_file(path, out, arena_limit=1 << 20).applied
    if tables == "other weights":
        out.write_bytes(slim(int8_file(Layer("conv", 48, values=4), Layer("dense", 10), seed=1)))
    if tables == "torn":
        out.write_bytes(out.read_bytes()[:700])
    subject = Subject.made("a" * 64, path, path.stat().st_size, read_graph(path))
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 4)).astype(np.float32)
    (found,) = measure([replace(subject, tables=out)], x)
    if tables != "right":
        assert (found.status, found.realised_bytes) == ("failed", None)
        reason = {"other weights": "model.tflm.tflite answers otherwise", "torn": "TFLM refuses model.tflm.tflite"}
        assert reason[tables] in found.reason
        return
    assert found.status == "ok" and found.details["bit_exact"]
    assert (found.realised_bytes, found.plain_bytes) == (out.stat().st_size, path.stat().st_size)
    (plain,) = measure([subject], x)
    assert (plain.realised_bytes, plain.plain_bytes) == (path.stat().st_size, None)
    assert found.plain_arena_bytes == plain.arena_bytes and found.arena_bytes and plain.arena_bytes
    assert found.arena_bytes > plain.arena_bytes, "weights are decoded into it"


def test_without_the_package_the_target_says_what_to_install(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"tflite-micro is not installed\. Install litemill\[devices\]"):
        measure([subjects["int8"]], samples)
