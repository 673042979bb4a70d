"""The `tflm` target, on the real interpreter of microcontrollers."""

from collections.abc import Sequence
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
from litemill.runtime import micro

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


def test_without_the_package_the_target_says_what_to_install(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"tflite-micro is not installed\. Install litemill\[devices\]"):
        measure([subjects["int8"]], samples)
