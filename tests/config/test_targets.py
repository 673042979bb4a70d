"""Targets in a config are checked by name before any compute."""

import re
from pathlib import Path
from typing import Any

import pytest

from litemill.config.load import load_config
from litemill.config.run import Budget
from litemill.config.targets import parse_target
from litemill.errors import ConfigError

CONFIG = """\
name: t
model: {{uri: m.keras}}
data: {{kind: digits}}
recipes: {{int8: [int8]}}
targets: {targets}
"""


def write(folder: Path, targets: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(targets=targets))
    return path


@pytest.mark.parametrize(
    ("targets", "answer"),
    [
        ("[hosst]", "run.yaml:5: targets.0: unknown target 'hosst'; did you mean 'host'?"),
        ("[host, host]", "run.yaml:5: targets: target 'host' is listed twice"),
    ],
)
def test_a_wrong_target_is_told_with_its_line(targets: str, answer: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, targets))
    assert str(caught.value).endswith(answer)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("ethos-u55-129", "unknown target 'ethos-u55-129'; did you mean 'ethos-u55-128'"),
        ({"name": "x"}, "a target needs a device: host, "),
        ({"device": "host", "thread": 2}, "unknown option 'thread'; did you mean 'threads'?"),
        ({"device": "host", "threads": 0}, "threads: Input should be greater than 0"),
        ({"device": "tflm", "threads": 2}, "target 'tflm': tflm does not take 'threads' (it takes: none)"),
        ({"device": "host", "accelerator": "tpu"}, "target 'host': unknown accelerator 'tpu'; known: cpu, "),
        ({"device": "host", "name": "a b"}, "target name 'a b': letters, digits, '.', '_' and '-' only"),
        ("ssh://", "target 'ssh://': an address is ssh://[user@]host[:port]"),
        ("ssh://-oProxyCommand=x", "target 'ssh://-oProxyCommand=x': an address is ssh://[user@]host[:port]"),
        ({"device": "edgetpu", "threads": 2}, "edgetpu does not take 'threads' (it takes: compiler)"),
        ("host://pi", "target 'host://pi': host takes no address"),
        (
            "adb://R58M",
            "target 'adb://R58M' needs benchmark_model: the binary's path, built for the device; or runner:",
        ),
        ({"device": "adb://R58M", "runner": "python"}, "needs python: the interpreter's path on the device"),
        (
            {"device": "adb://R58M", "runner": "python", "python": "/p", "benchmark_model": "b"},
            "target 'adb://R58M': benchmark_model is not used by runner python",
        ),
        ({"device": "ssh://pi", "runner": "benchmark_model"}, "target 'ssh://pi' needs benchmark_model: the binary's"),
        (
            {"device": "ssh://pi", "runner": "benchmark_model", "benchmark_model": "b", "accelerator": "cpu-reference"},
            "unknown accelerator 'cpu-reference'; known: cpu, gpu, hexagon, nnapi",
        ),
        ({"device": "ssh://pi", "runner": "pyhton"}, "runner: Input should be '', 'python' or 'benchmark_model'"),
        (
            {"device": "adb://R58M", "benchmark_model": "b", "accelerator": "npu:x"},
            "unknown accelerator 'npu:x'; known: ",
        ),
        (["host"], "a target is a name or a mapping, not ['host']"),
    ],
)
def test_what_is_wrong_with_a_target_is_told(written: Any, answer: str) -> None:
    with pytest.raises(ValueError, match=re.escape(answer)):
        parse_target(written)


@pytest.mark.parametrize(
    "written",
    ["host", "ethos-u85-2048", {"name": "host-2", "device": "host", "threads": 2, "accelerator": "delegate:/a b.so"}],
)
def test_a_target_travels_as_one_string_and_comes_back(written: Any) -> None:
    target = parse_target(written)
    assert parse_target(target.argument()) == target
    assert target.model_dump() == written
    if isinstance(written, str):
        assert target.argument() == written


def test_names_in_budget_and_objective_are_those_of_the_targets(tmp_path: Path) -> None:
    path = write(tmp_path, "[tflm, {name: two-threads, device: host, threads: 2}]")
    path.write_text(path.read_text() + "objective: latency:two-threads\nbudget: {max_latency_ms: {two-threads: 1.0}}\n")
    spec = load_config(path)
    assert [(target.name, target.kind) for target in spec.targets] == [("tflm", "tflm"), ("two-threads", "host")]
    path.write_text(path.read_text().replace("latency:two-threads", "latency:tflm"))
    with pytest.raises(ConfigError, match="objective: target 'tflm' tells no latency"):
        load_config(path)


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ("objective: sise", "run.yaml:6: objective: unknown objective 'sise'; did you mean 'size'?"),
        ("objective: latency", "objective: unknown objective 'latency'; did you mean 'latency:<target>'?"),
        ("objective: 'size:'", "objective: unknown objective 'size:'; did you mean 'size"),
        ("objective: size:tfml", "objective names target 'tfml', which is not in targets; did you mean 'tflm'?"),
        ("budget: {max_arena_bytes: {tfml: 1}}", "names target 'tfml', which is not in targets; did you mean 'tflm'?"),
        ("budget: {max_arena_bytes: {host: 1}}", "budget.max_arena_bytes.host: target 'host' tells no arena"),
        ("budget: {max_arena_bytes: {ethos-u65-256: 1}}", "target 'ethos-u65-256' tells no arena"),
        ("budget: {max_latency_ms: {tflm: 1}}", "budget.max_latency_ms.tflm: target 'tflm' tells no latency"),
        ("objective: latency:edgetpu", "objective: target 'edgetpu' tells no latency"),
        ("budget: {max_arena_bytes: {tflm: 0}}", "max_arena_bytes.tflm: Input should be greater than 0"),
        ("budget: {max_arena: {tflm: 1}}", "unknown key 'budget.max_arena'; did you mean 'max_arena_bytes'?"),
    ],
)
def test_a_budget_or_objective_that_no_target_can_settle_is_refused(more: str, answer: str, tmp_path: Path) -> None:
    path = write(tmp_path, "[host, tflm, ethos-u55-128, ethos-u65-256, edgetpu]")
    path.write_text(f"{path.read_text()}{more}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert answer in str(caught.value)


def test_a_budget_and_an_objective_on_targets_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "[tflm, ethos-u55-128, {name: u65, device: ethos-u65-256, memory_mode: Shared_Sram}]")
    limits = "{tflm: 65536, ethos-u55-128: 40000, u65: 1}"
    path.write_text(f"{path.read_text()}objective: size:ethos-u55-128\nbudget: {{max_arena_bytes: {limits}}}\n")
    spec = load_config(path)
    assert spec.budget.max_arena_bytes == {"tflm": 65536, "ethos-u55-128": 40000, "u65": 1}
    # Kubeflow makes every number in a mapping a float
    assert Budget.model_validate({"max_arena_bytes": {"tflm": 65536.0}}).max_arena_bytes == {"tflm": 65536}
