"""Kinds of targets: one record each, where a config may have a variant run. Knows names and options, reaches no device.

Another package adds a kind by an entry point of the group `litemill.targets` that names a `TargetKind`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from litemill.config.base import LONGEST_TEXT, first_mistake, nearest
from litemill.config.target_specs import (
    ADB_ADDRESS,
    SSH_ADDRESS,
    AdbSpec,
    EdgeTpuSpec,
    EthosSpec,
    Quantity,
    SshSpec,
    TimedSpec,
)
from litemill.config.target_specs import TargetSpec as TargetSpec
from litemill.errors import ConfigError, shown
from litemill.plugins import Registry

LONGEST_ADDRESS = 300
ETHOS = ("55-32", "55-64", "55-128", "55-256", "65-256", "65-512", "85-128", "85-256", "85-512", "85-1024", "85-2048")


@dataclass(frozen=True)
class TargetKind:
    """A kind of target.

    Attributes:
        name: What a config calls it: the device, or the scheme of its address (`ssh` of `ssh://pi`).
        summary: What it is, for the reader.
        opens: What measures, as `package.module:name`: called with the spec, it returns a
            `litemill.benchmark.session.Target`.
        spec: The model of what a config says of it.
        tells: Which of the quantities that a budget or an objective may name.
        address: The form of its address; empty where it has none.
        times_here: Whether it measures time on this machine, so that nothing may run beside it.
        micro: Whether it computes as a microcontroller does, which is as LiteRT's reference kernels.
        look_up_tables: Whether it stores the file with look-up tables that a variant may have beside it.
    """

    name: str
    summary: str
    opens: str
    spec: type[TargetSpec] = TargetSpec
    tells: frozenset[Quantity] = frozenset({"latency", "size"})
    address: str = ""
    times_here: bool = False
    micro: bool = False
    look_up_tables: bool = False

    def options(self) -> list[str]:
        """Options it takes, beside its name and device."""
        return sorted(set(self.spec.model_fields) - set(TargetSpec.model_fields))


TARGETS = Registry(
    "target",
    "litemill.targets",
    TargetKind,
    [
        TargetKind(
            "host",
            "this machine: LiteRT in a process of its own",
            "litemill.benchmark.litert:LiteRtTarget",
            TimedSpec,
            tells=frozenset({"latency", "size", "memory", "delegation"}),
            times_here=True,
        ),
        TargetKind(
            "ssh",
            "a device behind OpenSSH, by our Python runner or benchmark_model",
            "litemill.benchmark.registry:open_ssh",
            SshSpec,
            tells=frozenset({"latency", "size", "memory", "delegation"}),
            address=SSH_ADDRESS,
        ),
        TargetKind(
            "adb",
            "an Android device, by the user's benchmark_model or our Python runner",
            "litemill.benchmark.registry:open_adb",
            AdbSpec,
            tells=frozenset({"latency", "size", "memory", "delegation"}),
            address=ADB_ADDRESS,
        ),
        TargetKind(
            "tflm",
            "TensorFlow Lite for Microcontrollers: answers and arena, no latency",
            "litemill.benchmark.tflm:TflmTarget",
            tells=frozenset({"size", "arena"}),
            micro=True,
            look_up_tables=True,
        ),
        *(
            TargetKind(
                f"ethos-u{size}",
                "Arm Ethos-U NPU, estimated by its compiler Vela",
                "litemill.benchmark.ethos:EthosTarget",
                EthosSpec,
                tells=frozenset({"latency", "size", "arena", "memory", "delegation"}),
                micro=True,
            )
            for size in ETHOS
        ),
        TargetKind(
            "edgetpu",
            "Coral Edge TPU, by edgetpu_compiler or, without it, by rules: ops and memory, no latency",
            "litemill.benchmark.edgetpu:EdgeTpuTarget",
            EdgeTpuSpec,
            tells=frozenset({"size", "delegation"}),
        ),
    ],
)
"""Kinds of targets by name."""


def kind_of(target: TargetSpec) -> TargetKind:
    """What is known of a target's kind."""
    return TARGETS[target.kind]


def tells(target: TargetSpec, quantity: Quantity) -> bool:
    """Whether a target tells a quantity that may be ranked and gated."""
    return quantity in kind_of(target).tells and not target.withholds(quantity)


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
    given = {str(option): value for option, value in written.items()}
    if "device" not in given:
        raise ValueError(f"a target needs a device: {', '.join(TARGETS)}")
    device = given["device"]
    if not isinstance(device, str):
        raise ValueError(f"device: a target's device is a name, not {shown(device)}")
    given.setdefault("name", device)
    kind = _known(device)
    _check_address(device, kind)
    _check_options(given, kind)
    try:
        return kind.spec.model_validate(given)
    except ValidationError as error:
        raise ValueError(first_mistake(error, kind.spec).removeprefix(": ")) from None


def _known(device: str) -> TargetKind:
    try:
        return TARGETS[device.partition("://")[0]]
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _check_address(device: str, kind: TargetKind) -> None:
    """Refuse an address where there is none, a missing one, and one that a client would take for an option."""
    mark, address = device.partition("://")[1:]
    if kind.address and not _is_address(address):
        raise ValueError(f"target {shown(device)}: an address is {kind.address}")
    if mark and not kind.address:
        raise ValueError(f"target {shown(device)}: {kind.name} takes no address")


def _is_address(address: str) -> bool:
    """Whether it is one word that no client takes for an option."""
    if not address.strip("/") or address.startswith("-") or "@-" in address or len(address) > LONGEST_ADDRESS:
        return False
    return address.isprintable() and not any(map(str.isspace, address))


def _check_options(given: dict[str, Any], kind: TargetKind) -> None:
    """Refuse what a kind does not take: as misspelt where an option of its own is near, else with all it takes."""
    takes = kind.options()
    for option in sorted(set(given) - set(kind.spec.model_fields)):
        if (close := nearest(option, takes)).startswith("did you mean"):
            raise ValueError(f"unknown option {shown(option)}; {close}")
        what = f"target {shown(given['name'])}: {kind.name} does not take {shown(option)}"
        raise ValueError(f"{what} (it takes: {', '.join(takes) or 'none'})")


def check_named(targets: Sequence[TargetSpec], name: str, quantity: Quantity, where: str) -> None:
    """Refuse a target that a budget or an objective names when it is not there or does not tell what is asked of it.

    Raises:
        ValueError: With the place, and the nearest name or what the target does tell.
    """
    known = {target.name: target for target in targets}
    if name not in known:
        raise ValueError(f"{where} names target {name!r}, which is not in targets; {nearest(name, list(known))}")
    if not tells(known[name], quantity):
        words = {
            "latency": "latency",
            "size": "size of its own",
            "arena": "arena",
            "memory": "peak memory",
            "delegation": "share of delegated ops",
        }
        raise ValueError(f"{where}: target {name!r} tells no {words[quantity]}")
