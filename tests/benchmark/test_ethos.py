"""The `ethos-u…` targets, on the real compiler."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from litemill.benchmark.ethos import EthosTarget, read_summary
from litemill.benchmark.session import Subject
from litemill.config.targets import TARGETS, parse_target, tells
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement


def estimate(subject: Subject, samples: NDArray[np.float32], device: str = "ethos-u55-128", **more: Any) -> Measurement:
    target = EthosTarget(parse_target({"device": device, **more}))
    return target.measure([subject], samples)[subject.sha256]


def test_an_int8_model_gets_estimates_that_say_so(subjects: dict[str, Subject], samples: NDArray[np.float32]) -> None:
    one = estimate(subjects["int8"], samples)
    assert (one.status, one.kind, one.parity, one.ratio_to_float32) == ("ok", "estimated", None, None)
    assert one.delegated_fraction == 1.0
    assert one.latency_ms["p50"] == pytest.approx(one.details["cycles"] / one.device["clock_hz"] * 1e3, rel=1e-3)
    assert one.latency_ms["p50"] > 0
    assert one.peak_memory_bytes and one.realised_bytes and one.details["npu_weight_bytes"] > 0
    assert one.arena_bytes == one.details["sram_bytes"] > 0
    assert one.device["system_config"] == "Ethos_U55_High_End_Embedded"
    assert (one.requested_accelerator, one.actual_accelerator) == ("ethos-u55-128", "ethos-u55-128")


@pytest.mark.parametrize("recipe", ["float32", "dynamic"])
def test_a_model_that_is_not_int8_fails_although_vela_ends_with_0(
    recipe: str, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    one = estimate(subjects[recipe], samples)
    assert (one.status, one.latency_ms) == ("failed", {})
    assert one.reason.startswith("no op of it runs on the NPU (")
    assert "Float32" in one.reason


def test_ops_left_on_the_cpu_leave_no_latency(subjects: dict[str, Subject], samples: NDArray[np.float32]) -> None:
    """Vela's time leaves the CPU's share out: it is not the model's."""
    one = estimate(subjects["int8-float-io"], samples)
    assert (one.status, one.latency_ms) == ("ok", {})
    assert one.details["cpu_ops"] == 2 and one.details["npu_ms"] > 0
    assert one.delegated_fraction and one.delegated_fraction < 1
    assert one.actual_accelerator == "ethos-u55-128 and cpu"
    assert "QUANTIZE" in one.details["left_on_cpu"]


def test_zeros_in_the_weights_shrink_the_realised_size_and_nothing_else_does(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """The file is as large as before; what Vela stores is not: that is where pruning pays."""
    pruned = tmp_path / "pruned.tflite"
    pruned.write_bytes(zeroed(subjects["int8"].path.read_bytes()))
    thin = Subject(**(vars(subjects["int8"]) | {"path": pruned, "sha256": "b" * 64}))
    whole, less = estimate(subjects["int8"], samples), estimate(thin, samples)
    assert abs(pruned.stat().st_size - subjects["int8"].size_bytes) < 2000
    assert whole.realised_bytes and less.realised_bytes and less.realised_bytes < 0.9 * whole.realised_bytes
    assert less.details["original_weight_bytes"] == whole.details["original_weight_bytes"]


def zeroed(model: bytes) -> bytes:
    """A model whose int8 weights are all zero."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    for tensor in tree.subgraphs[0].tensors:
        data = tree.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT8 and data is not None and len(tensor.shape) > 1:
            tree.buffers[tensor.buffer].data = np.zeros_like(data)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("device", [name for name in TARGETS if name.startswith("ethos-u")])
def test_every_accelerator_is_known_to_vela(
    device: str, subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    one = estimate(subjects["int8"], samples, device)
    assert (one.status, one.reason) == ("ok", "")
    assert one.realised_bytes and one.latency_ms["p50"] > 0
    # where the arena is not alone in its memory, Vela's figure is not the arena's
    assert (one.arena_bytes is not None) == tells(parse_target(device), "arena") == device.startswith("ethos-u55")


def test_an_unknown_system_is_refused_by_vela_and_told(
    subjects: dict[str, Subject], samples: NDArray[np.float32]
) -> None:
    one = estimate(subjects["int8"], samples, system_config="Ethos_U99")
    assert one.status == "failed"
    assert one.reason.startswith("Vela ended with exit code ") and "Ethos_U99" in one.reason


def test_a_broken_file_is_a_failed_estimate(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 100)
    one = estimate(Subject(**(vars(subjects["int8"]) | {"path": broken})), samples)
    assert one.status == "failed" and one.reason


def test_a_run_without_a_summary_is_no_estimate(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="Vela left no summary"):
        read_summary(tmp_path)


def test_without_the_package_the_target_says_what_to_install(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"ethos-u-vela is not installed\. Install litemill\[devices\]"):
        estimate(subjects["int8"], samples)
