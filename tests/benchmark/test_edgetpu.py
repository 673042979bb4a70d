"""The `edgetpu` target: by a stand-in that prints what the real compiler prints, and by rules without one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from litemill.benchmark import edgetpu
from litemill.benchmark.edgetpu import EdgeTpuTarget, read_output
from litemill.benchmark.session import Subject
from litemill.config.targets import parse_target
from litemill.errors import DeviceError, StepFailed
from litemill.evidence.outcome import Measurement
from tests.programs import edgetpu_compiler as compiler

REAL = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 3173 ms.

Input model: detector.tflite
Input size: 7.37MiB
Output model: detector_edgetpu.tflite
Output size: 8.34MiB
On-chip memory used for caching model parameters: 6.08MiB
On-chip memory remaining for caching model parameters: 0.00B
Off-chip memory used for streaming uncached model parameters: 1.70MiB
Number of Edge TPU subgraphs: 2
Total number of operations: 24
Operation log: detector_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will \
instead run on the CPU, which is slower.
Number of operations that will run on Edge TPU: 20
Number of operations that will run on CPU: 4

Operator                       Count      Status

RESIZE_NEAREST_NEIGHBOR        2          Mapped to Edge TPU
CONCATENATION                  1          Operation is otherwise supported, but not mapped due to some unspecified \
limitation
CONCATENATION                  17         Mapped to Edge TPU
QUANTIZE                       2          More than one subgraph is not supported
QUANTIZE                       1          Operation is working on an unsupported data type
LOGISTIC                       1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
"""The format of a real run (YOLOv5 by compiler 16), with fewer rows."""


def measure(subject: Subject, samples: NDArray[np.float32], **more: Any) -> Measurement:
    target = EdgeTpuTarget(parse_target({"device": "edgetpu", **more}))
    return target.measure([subject], samples)[subject.sha256]


def test_the_real_format_is_read() -> None:
    answer = read_output(REAL)
    assert (answer.total, answer.subgraphs) == (24, 2)
    assert answer.mapped == {"RESIZE_NEAREST_NEIGHBOR": 2, "CONCATENATION": 17, "LOGISTIC": 1}
    assert answer.left == {
        "CONCATENATION": "1: Operation is otherwise supported, but not mapped due to some unspecified limitation",
        "QUANTIZE": "2: More than one subgraph is not supported; 1: Operation is working on an unsupported data type",
    }
    assert (answer.on_chip, answer.off_chip) == (round(6.08 * (1 << 20)), round(1.70 * (1 << 20)))


@pytest.mark.parametrize("output", ["", "something else", REAL.replace("LOGISTIC  ", "\n"), REAL.replace("24", "25")])
def test_what_is_not_that_format_is_no_evidence(output: str) -> None:
    with pytest.raises(StepFailed, match="edgetpu_compiler printed no table of all its operations"):
        read_output(output)


def test_a_compiled_model_tells_ops_segments_memory_and_size_and_no_time(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    one = measure(subjects["int8"], samples, compiler=str(compiler(tmp_path)))
    assert (one.status, one.kind, one.latency_ms, one.parity) == ("ok", "estimated", {}, None)
    assert (one.delegated_fraction, one.actual_accelerator) == (1.0, "edgetpu")
    assert one.realised_bytes == subjects["int8"].size_bytes + 4096
    assert one.details["method"] == "edgetpu_compiler"
    assert (one.details["subgraphs"], one.details["on_chip_bytes"], one.details["off_chip_bytes"]) == (1, 18688, 0)
    assert one.details["mapped_ops"] == one.details["ops"] == sum(one.details["mapped"].values())
    assert one.device["version"] == "16.0.384591198"


def test_ops_left_on_the_cpu_are_told_with_the_compiler_s_reason(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    one = measure(subjects["int8"], samples, compiler=str(compiler(tmp_path, "partial")))
    assert (one.status, one.actual_accelerator) == ("ok", "edgetpu and cpu")
    assert one.delegated_fraction and one.delegated_fraction == (one.details["ops"] - 1) / one.details["ops"]
    assert list(one.details["left_on_cpu"].values()) == [
        "1: Operation is otherwise supported, but not mapped due to some unspecified limitation"
    ]


@pytest.mark.parametrize(
    ("recipe", "behaviour", "answer"),
    [
        ("float32", "good", "edgetpu_compiler ended with exit code 1: Compilation failed: Model not quantized"),
        ("int8", "crash", "edgetpu_compiler ended with exit code 1: Internal compiler error. Aborting!"),
        ("int8", "nothing", "no op of it runs on the Edge TPU, which takes models that are int8 throughout ("),
        ("int8", "no-table", "edgetpu_compiler printed no table of all its operations: Compilation succeeded!"),
    ],
)
def test_what_the_compiler_refuses_is_a_failed_estimate(
    recipe: str, behaviour: str, answer: str, subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path
) -> None:
    one = measure(subjects[recipe], samples, compiler=str(compiler(tmp_path, behaviour)))
    assert (one.status, one.kind, one.realised_bytes, one.delegated_fraction) == ("failed", "estimated", None, None)
    assert one.reason.startswith(answer)


def test_a_compiler_that_hangs_is_ended(
    subjects: dict[str, Subject], samples: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgetpu, "SECONDS", -28)
    one = measure(subjects["int8"], samples, compiler=str(compiler(tmp_path, "hang")))
    assert one.reason == "edgetpu_compiler took more than -28 s and was ended"


def test_a_program_that_is_not_there_or_is_another_is_named(tmp_path: Path) -> None:
    lost = parse_target({"device": "edgetpu", "compiler": str(tmp_path / "none")})
    with pytest.raises(DeviceError, match=r"^edgetpu: there is no program '.*/none'$"):
        EdgeTpuTarget(lost).facts()
    other = parse_target({"device": "edgetpu", "compiler": str(compiler(tmp_path, "other"))})
    with pytest.raises(DeviceError, match="is no Edge TPU compiler: it tells no version"):
        EdgeTpuTarget(other).facts()


def test_the_compiler_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path).rename(tmp_path / "edgetpu_compiler")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert EdgeTpuTarget(parse_target("edgetpu")).facts()["version"] == "16.0.384591198"


def test_without_the_compiler_the_rules_predict_and_say_so(
    subjects: dict[str, Subject], samples: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    one = measure(subjects["int8"], samples)
    assert (one.status, one.kind, one.latency_ms, one.realised_bytes) == ("ok", "estimated", {}, None)
    assert one.delegated_fraction == 1.0
    assert one.details["method"] == "static prediction: edgetpu_compiler not found"
    assert one.details["rules"].endswith("https://coral.ai/docs/edgetpu/models-intro/#supported-operations")
    # the float input and output take a QUANTIZE and a DEQUANTIZE that stay on the CPU
    partly = measure(subjects["int8-float-io"], samples)
    assert partly.delegated_fraction == (partly.details["ops"] - 2) / partly.details["ops"]
    assert {op.split()[1] for op in partly.details["left_on_cpu"]} == {"QUANTIZE", "DEQUANTIZE"}
    for recipe in ("float32", "float16", "dynamic"):
        refused = measure(subjects[recipe], samples)
        assert refused.status == "failed"
        assert refused.reason.startswith("no op of it runs on the Edge TPU, which takes models that are int8 through")
        assert "not supported" in refused.reason
