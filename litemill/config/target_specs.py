"""A target as a config writes it: what all of them have, and the options of each kind. Reaches no device."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_serializer, model_validator

from litemill.config.base import Section
from litemill.config.names import plain_name
from litemill.errors import shown

Quantity = Literal["latency", "size", "arena", "memory", "delegation"]
"""What a budget or an objective may ask of a target: the median, the bytes that it stores, the arena it works in, the
peak memory, the share of ops that an accelerator takes."""
ON_DEVICE = "device:"
"""Before a path of `benchmark_model` on the device; any other is pushed."""
SSH_ADDRESS, ADB_ADDRESS = "ssh://[user@]host[:port]", "adb://SERIAL"
EMULATED = frozenset({"npu:intel-cpu"})
"""Accelerators whose whole software path runs, on a CPU."""
EDGETPU_COMPILER = "edgetpu_compiler"
VELA_DEFAULTS = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
"""System configuration and memory mode by family: those Vela takes by default, named so that they are on record."""
LITERT = (
    "cpu, cpu-reference, gpu, npu:<vendor>, delegate:<library>",
    r"cpu|cpu-reference|gpu|npu:[a-z0-9_-]+|delegate:.+",
)
"""What LiteRT computes with, for the reader and as a pattern."""
BENCHMARK_MODEL = (
    "cpu, gpu, hexagon, nnapi[:<name>], delegate:<library>",
    r"cpu|gpu|hexagon|nnapi(:.+)?|delegate:.+",
)
"""As `LITERT`, of Google's benchmark_model."""


class TargetSpec(Section):
    """A place to run variants. A plain string in a config is a device with nothing but defaults.

    A kind with options is a subclass. `litemill.config.targets.parse_target` makes one of what a user wrote.
    """

    name: str = Field(description="what budget, objective and reports call it")
    device: str = Field(description="a kind of target such as host or tflm")

    @model_validator(mode="after")
    def _plainly_named(self) -> TargetSpec:
        if self.name != self.device:
            plain_name(self.name, "target name")
        return self

    @property
    def kind(self) -> str:
        """The device's scheme, or the device where it has none."""
        return self.device.partition("://")[0]

    @property
    def patience(self) -> float:
        """Seconds to wait for the device where another task uses it."""
        return 600.0

    @property
    def emulates(self) -> bool:
        """Whether something else stands in for the hardware, so that its times are no times of the device."""
        return False

    def withholds(self, quantity: Quantity) -> bool:
        """Whether a quantity that the kind tells cannot be ranked and gated with these options."""
        return quantity in ("latency", "memory") and self.emulates

    def missing(self) -> list[str]:
        """What this machine lacks to measure on it, as sentences about the target; empty where all is there."""
        return []

    @model_serializer
    def written(self) -> str | dict[str, Any]:
        """As a config has it: a plain string, or the mapping of what was set."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return self.name if given == {"name": self.name, "device": self.name} else given

    def argument(self) -> str:
        """As one string that `parse_target` reads back: how it travels to a task."""
        written = self.model_dump()
        return written if isinstance(written, str) else json.dumps(written, sort_keys=True)


class TimedSpec(TargetSpec):
    """A target that runs models and takes the time."""

    accelerator: str = Field("cpu", description="cpu, cpu-reference, gpu, npu:<vendor> or delegate:<library>")
    threads: int = Field(1, gt=0, le=1024, description="of one inference")
    seconds: float = Field(1.5, gt=0, le=3600, description="time spent on each variant, after warm-up")
    timeout: float = Field(600.0, gt=0, le=86_400, description="seconds after which a session is given up")

    @model_validator(mode="after")
    def _known_accelerator(self) -> TimedSpec:
        known, pattern = self.accelerators
        if not re.fullmatch(pattern, self.accelerator):
            raise ValueError(f"target {self.name!r}: unknown accelerator {self.accelerator!r}; known: {known}")
        return self

    @property
    def accelerators(self) -> tuple[str, str]:
        """What may compute: for the reader, and as a pattern."""
        return LITERT

    @property
    def patience(self) -> float:
        """See `TargetSpec.patience`."""
        return self.timeout

    @property
    def emulates(self) -> bool:
        """See `TargetSpec.emulates`."""
        return self.accelerator in EMULATED


class RemoteSpec(TimedSpec):
    """A device with a shell: our Python runner or Google's benchmark_model runs the models there."""

    usual_runner: ClassVar[str] = "python"
    python_named: ClassVar[bool] = False
    """Whether the config has to name the interpreter, as no device of the kind has one on its path."""

    runner: Literal["", "python", "benchmark_model"] = Field("", description="what runs the models on the device")
    benchmark_model: str = Field("", description="path of Google's binary, built for the device; device:<path> there")
    python: str = Field("python3", description="interpreter on the device, with numpy and ai-edge-litert")
    emulated: bool = Field(False, description="the device is emulated: its times are shown, never ranked or gated")

    @model_validator(mode="after")
    def _runner_has_its_program(self) -> RemoteSpec:
        """Refuse a runner without its program, and a program without its runner."""
        if self.runs_by == "benchmark_model" and not self.benchmark_model:
            path = "the binary's path, built for the device; or runner: python"
            raise ValueError(f"target {self.name!r} needs benchmark_model: {path}")
        if self.runs_by == "python" and self.python_named and "python" not in self.model_fields_set:
            raise ValueError(f"target {self.name!r} needs python: the interpreter's path on the device")
        other = {"python": "benchmark_model", "benchmark_model": "python"}[self.runs_by]
        if other in self.model_fields_set:
            raise ValueError(f"target {self.name!r}: {other} is not used by runner {self.runs_by}")
        return self

    @property
    def runs_by(self) -> str:
        """What runs the models: `python` or `benchmark_model`."""
        return self.runner or self.usual_runner

    @property
    def accelerators(self) -> tuple[str, str]:
        """See `TimedSpec.accelerators`."""
        return BENCHMARK_MODEL if self.runs_by == "benchmark_model" else LITERT

    @property
    def emulates(self) -> bool:
        """See `TargetSpec.emulates`."""
        return self.emulated or super().emulates

    def withholds(self, quantity: Quantity) -> bool:
        """See `TargetSpec.withholds`. Of its ops on the CPU benchmark_model does not say who computes them."""
        silent = quantity == "delegation" and self.runs_by == "benchmark_model" and self.accelerator == "cpu"
        return silent or super().withholds(quantity)

    def files(self) -> dict[str, str]:
        """Files on this machine that are needed, by option."""
        pushed = self.benchmark_model and not self.benchmark_model.startswith(ON_DEVICE)
        return {"benchmark_model": self.benchmark_model} if pushed else {}

    def missing(self) -> list[str]:
        """See `TargetSpec.missing`."""
        lost = {option: path for option, path in self.files().items() if not Path(path).is_file()}
        return [f"will fail: there is no {option} at {path}" for option, path in lost.items()]


class SshSpec(RemoteSpec):
    """A device behind OpenSSH."""

    ssh_config: str = Field("", description="file for ssh -F; empty for the user's own")

    @model_validator(mode="after")
    def _is_host(self) -> SshSpec:
        """The address has to name a host and, where it has one, a port; OpenSSH takes no password in it."""
        try:
            parts = urlsplit(self.device)
            sound = bool(parts.hostname) and parts.port != 0 and parts.password is None
        except ValueError:  # a bracket that is not closed, a port that is not one
            sound = False
        if not sound:
            raise ValueError(f"target {shown(self.device)}: an address is {SSH_ADDRESS}")
        return self

    def files(self) -> dict[str, str]:
        """See `RemoteSpec.files`."""
        return super().files() | ({"ssh_config": self.ssh_config} if self.ssh_config else {})


class AdbSpec(RemoteSpec):
    """An Android device."""

    usual_runner: ClassVar[str] = "benchmark_model"
    python_named: ClassVar[bool] = True


class EthosSpec(TargetSpec):
    """Arm Ethos-U, estimated by Vela."""

    system_config: str = Field("", description="Vela's; empty for its default of the family")
    memory_mode: str = Field("", description="Vela's; empty for its default of the family")

    @property
    def vela_system(self) -> str:
        """System configuration that Vela is asked for."""
        return self.system_config or VELA_DEFAULTS[self.kind.rpartition("-")[0]][0]

    @property
    def vela_memory(self) -> str:
        """Memory mode that Vela is asked for."""
        return self.memory_mode or VELA_DEFAULTS[self.kind.rpartition("-")[0]][1]

    def withholds(self, quantity: Quantity) -> bool:
        """See `TargetSpec.withholds`. But for shared SRAM Vela counts weights and arena as one."""
        return quantity == "arena" and not self.vela_memory.startswith("Shared_Sram")


class EdgeTpuSpec(TargetSpec):
    """Coral's Edge TPU, by its compiler."""

    compiler: str = Field("", description="path of edgetpu_compiler; empty for the one on the PATH")

    def missing(self) -> list[str]:
        """See `TargetSpec.missing`."""
        if shutil.which(self.compiler or EDGETPU_COMPILER):
            return []
        if self.compiler:
            return [f"will fail: there is no program {self.compiler!r}"]
        return [f"is predicted by rules, without {EDGETPU_COMPILER}"]
