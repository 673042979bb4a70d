"""The vocabulary of targets: where a config may have a variant run. Knows names and options, reaches no device."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from litemill.config.base import LONGEST_TEXT, Section, first_mistake, nearest
from litemill.config.names import plain_name
from litemill.errors import shown

TIMED = frozenset({"seconds", "threads", "accelerator", "timeout"})
REACHED = TIMED | {"runner", "python", "benchmark_model", "emulated"}
ON_DEVICE = "device:"
"""Before a path of `benchmark_model` on the device; any other is pushed."""
Quantity = Literal["latency", "size", "arena"]
"""What a budget or an objective may ask of a target: the median, the bytes that it stores, the arena it works in."""
ETHOS = ("55-32", "55-64", "55-128", "55-256", "65-256", "65-512", "85-128", "85-256", "85-512", "85-1024", "85-2048")


@dataclass(frozen=True)
class Kind:
    """A kind of target.

    Attributes:
        summary: What it is, for the reader.
        options: Options it takes, beside its name and device.
        tells: Which of the quantities that a budget or an objective may name.
    """

    summary: str
    options: frozenset[str] = frozenset()
    tells: frozenset[Quantity] = frozenset({"latency", "size"})


KINDS: dict[str, Kind] = {
    "host": Kind("this machine: LiteRT in a process of its own", TIMED),
    "ssh": Kind("a device behind OpenSSH, by our Python runner or benchmark_model", REACHED | {"ssh_config"}),
    "adb": Kind("an Android device, by the user's benchmark_model or our Python runner", REACHED),
    "tflm": Kind(
        "TensorFlow Lite for Microcontrollers: answers and arena, no latency", tells=frozenset({"size", "arena"})
    ),
    **{
        f"ethos-u{size}": Kind(
            "Arm Ethos-U NPU, estimated by its compiler Vela",
            frozenset({"system_config", "memory_mode"}),
            frozenset({"latency", "size", "arena"}),
        )
        for size in ETHOS
    },
    "edgetpu": Kind(
        "Coral Edge TPU, by edgetpu_compiler or, without it, by rules: ops and memory, no latency",
        frozenset({"compiler"}),
        frozenset({"size"}),
    ),
}
"""Kinds of targets by the name or the scheme (`ssh` of `ssh://pi`) of the device."""

VELA_DEFAULTS = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
"""System configuration and memory mode by family: those Vela takes by default, named so that they are on record."""
LONGEST_ADDRESS = 300
REMOTE = {"ssh": "ssh://[user@]host[:port]", "adb": "adb://SERIAL"}
"""Kinds that are reached by an address, and its form."""
EMULATED = frozenset({"npu:intel-cpu"})
"""Accelerators whose whole software path runs, on a CPU."""
RUNNERS = {"host": "python", "ssh": "python", "adb": "benchmark_model"}
"""What runs the models, by kind, where the config does not say."""
ACCELERATORS = {
    "benchmark_model": (
        "cpu, gpu, hexagon, nnapi[:<name>], delegate:<library>",
        r"cpu|gpu|hexagon|nnapi(:.+)?|delegate:.+",
    ),
    "": (
        "cpu, cpu-reference, gpu, npu:<vendor>, delegate:<library>",
        r"cpu|cpu-reference|gpu|npu:[a-z0-9_-]+|delegate:.+",
    ),
}
"""What computes, by runner or for all others: for the reader, and as a pattern."""


class TargetSpec(Section):
    """A place to run variants. A plain string in a config is a device with nothing but defaults."""

    name: str = Field(description="what budget, objective and reports call it")
    device: str = Field(description="a kind of target such as host or tflm")
    accelerator: str = Field("cpu", description="cpu, cpu-reference, gpu, npu:<vendor> or delegate:<library>")
    threads: int = Field(1, gt=0, le=1024, description="of one inference")
    seconds: float = Field(1.5, gt=0, le=3600, description="time spent on each variant, after warm-up")
    runner: Literal["", "python", "benchmark_model"] = Field("", description="what runs the models on the device")
    benchmark_model: str = Field("", description="path of Google's binary, built for the device; device:<path> there")
    python: str = Field("python3", description="interpreter on the device, with numpy and ai-edge-litert")
    ssh_config: str = Field("", description="file for ssh -F; empty for the user's own")
    emulated: bool = Field(False, description="the device is emulated: its times are shown, never ranked or gated")
    timeout: float = Field(600.0, gt=0, le=86_400, description="seconds after which a session is given up")
    compiler: str = Field("", description="path of edgetpu_compiler; empty for the one on the PATH")
    system_config: str = Field("", description="Vela's; empty for its default of the family")
    memory_mode: str = Field("", description="Vela's; empty for its default of the family")

    @model_validator(mode="after")
    def _fits(self) -> TargetSpec:
        if self.kind not in KINDS:
            raise ValueError(f"unknown target {shown(self.device)}; {nearest(self.kind, list(KINDS))}")
        _check_address(self.device, self.kind)
        allowed = KINDS[self.kind].options
        for option in sorted(self.model_fields_set - {"name", "device"} - allowed):
            takes = ", ".join(sorted(allowed)) or "none"
            raise ValueError(f"target {self.name!r}: {self.kind} does not take {option!r} (it takes: {takes})")
        self._check_runner()
        known, pattern = ACCELERATORS.get(self.runs_by, ACCELERATORS[""])
        if not re.fullmatch(pattern, self.accelerator):
            raise ValueError(f"target {self.name!r}: unknown accelerator {self.accelerator!r}; known: {known}")
        if self.name != self.device:
            plain_name(self.name, "target name")
        return self

    def _check_runner(self) -> None:
        """Refuse a runner without its program, and a program without its runner."""
        needed = self.runs_by
        if needed == "benchmark_model" and not self.benchmark_model:
            path = "the binary's path, built for the device; or runner: python"
            raise ValueError(f"target {self.name!r} needs benchmark_model: {path}")
        if needed == "python" and self.kind == "adb" and "python" not in self.model_fields_set:
            raise ValueError(f"target {self.name!r} needs python: the interpreter's path on the device")
        other = {"python": "benchmark_model", "benchmark_model": "python"}.get(needed)
        if other in self.model_fields_set:
            raise ValueError(f"target {self.name!r}: {other} is not used by runner {needed}")

    @property
    def runs_by(self) -> str:
        """What runs the models: `python`, `benchmark_model`, or nothing where a compiler or TFLM does."""
        return self.runner or RUNNERS.get(self.kind, "")

    @property
    def kind(self) -> str:
        """The device's scheme, or the device where it has none."""
        return self.device.partition("://")[0]

    @property
    def is_micro(self) -> bool:
        """Whether it is a microcontroller, with or without an NPU, and so computes as the reference kernels do."""
        return self.kind == "tflm" or self.kind.startswith("ethos")

    def tells(self, quantity: Quantity) -> bool:
        """Whether it tells a quantity that may be ranked and gated."""
        if quantity == "latency" and self.emulates:
            return False
        if quantity == "arena" and self.kind.startswith("ethos") and not self.vela_memory.startswith("Shared_Sram"):
            return False  # in other modes Vela counts weights and arena as one
        return quantity in KINDS[self.kind].tells

    @property
    def vela_memory(self) -> str:
        """Memory mode that Vela is asked for."""
        return self.memory_mode or VELA_DEFAULTS[self.kind.rpartition("-")[0]][1]

    @property
    def vela_system(self) -> str:
        """System configuration that Vela is asked for."""
        return self.system_config or VELA_DEFAULTS[self.kind.rpartition("-")[0]][0]

    @property
    def emulates(self) -> bool:
        """Whether something else stands in for the hardware."""
        return self.emulated or self.accelerator in EMULATED

    @model_serializer
    def written(self) -> str | dict[str, Any]:
        """As a config has it: a plain string, or the mapping of what was set."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return self.name if given == {"name": self.name, "device": self.name} else given

    def argument(self) -> str:
        """As one string that `parse_target` reads back: how it travels to a task."""
        written = self.model_dump()
        return written if isinstance(written, str) else json.dumps(written, sort_keys=True)


def _check_address(device: str, kind: str) -> None:
    """Refuse an address where there is none, a missing one, and one that a client would take for an option."""
    mark, address = device.partition("://")[1:]
    if kind in REMOTE:
        if not _is_address(address) or (kind == "ssh" and not _is_host(device)):
            raise ValueError(f"target {shown(device)}: an address is {REMOTE[kind]}")
    elif mark:
        raise ValueError(f"target {shown(device)}: {kind} takes no address")


def _is_address(address: str) -> bool:
    """Whether it is one word that no client takes for an option."""
    if not address.strip("/") or address.startswith("-") or "@-" in address or len(address) > LONGEST_ADDRESS:
        return False
    return address.isprintable() and not any(map(str.isspace, address))


def _is_host(device: str) -> bool:
    """Whether an address names a host and, where it has one, a port that exists; OpenSSH takes no password in it."""
    try:
        parts = urlsplit(device)
        return bool(parts.hostname) and parts.port != 0 and parts.password is None
    except ValueError:  # a bracket that is not closed, a port that is not one
        return False


def parse_target(written: TargetSpec | str | dict[str, Any]) -> TargetSpec:
    """Turn what a user wrote (`host`, or a mapping with `device` and options) into a target.

    Raises:
        ValueError: There is no such target, or it does not take such options.
    """
    if isinstance(written, TargetSpec):
        return written
    if isinstance(written, str) and len(written) > LONGEST_TEXT:
        raise ValueError(f"a target is a name or a mapping, not a text of {len(written):,} characters")
    if isinstance(written, str) and written.startswith("{"):
        written = json.loads(written)
    if isinstance(written, str):
        written = {"name": written, "device": written}
    if not isinstance(written, dict):
        raise ValueError(f"a target is a name or a mapping, not {shown(written)}")
    given = dict(written)
    if "device" not in given:
        raise ValueError(f"a target needs a device: {', '.join(KINDS)}")
    given.setdefault("name", given["device"])
    try:
        return TargetSpec.model_validate(given)
    except ValidationError as error:
        raise ValueError(first_mistake(error, TargetSpec).removeprefix(": ")) from None


def check_named(targets: Sequence[TargetSpec], name: str, quantity: Quantity, where: str) -> None:
    """Refuse a target that a budget or an objective names when it is not there or does not tell what is asked of it.

    Raises:
        ValueError: With the place, and the nearest name or what the target does tell.
    """
    known = {target.name: target for target in targets}
    if name not in known:
        raise ValueError(f"{where} names target {name!r}, which is not in targets; {nearest(name, list(known))}")
    if not known[name].tells(quantity):
        words = {"latency": "latency", "size": "size of its own", "arena": "arena"}
        raise ValueError(f"{where}: target {name!r} tells no {words[quantity]}")
