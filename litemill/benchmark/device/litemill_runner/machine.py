"""What the device is and what state it is in, where that is readable."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes (`ru_maxrss` would inherit the parent's)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "")
    return int(line.split()[1]) * 1024 if line else None


def device() -> dict[str, Any]:
    """What runs the models."""
    from importlib import metadata

    try:
        runtime = metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        runtime = "unknown"
    return {
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "ai-edge-litert": runtime,
        "numpy": np.__version__,
        "accelerators": " ".join(accelerators()),
    }


def accelerators() -> list[str]:
    """What the runtime has libraries for. Whether hardware answers behind them shows only when a model is opened."""
    import ai_edge_litert

    base = Path(ai_edge_litert.__file__).parent
    gpu = ["gpu"] if any(base.glob("libLiteRt*GpuAccelerator.so")) else []
    vendors = {library.parents[1].name for library in base.glob("vendors/*/dispatch/libLiteRtDispatch_*.so")}
    return ["cpu", "cpu-reference", *gpu, *(f"npu:{vendor.removesuffix('_openvino')}" for vendor in sorted(vendors))]


def cpu_name() -> str:
    """The CPU's name where the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in named.items()}
    return fields.get("model name") or fields.get("Model") or fields.get("Hardware") or platform.processor()


def machine_state() -> dict[str, Any]:
    """What may disturb a measurement, where it is readable: load, governor, clock, temperature, throttling."""
    state: dict[str, Any] = {"load": [round(value, 2) for value in os.getloadavg()]}
    cpu = Path("/sys/devices/system/cpu/cpu0")
    readings = {
        "governor": cpu / "cpufreq" / "scaling_governor",
        "clock_khz": cpu / "cpufreq" / "scaling_cur_freq",
        "throttle_count": cpu / "thermal_throttle" / "core_throttle_count",
    }
    for name, path in readings.items():
        value = read(path)
        if value:
            state[name] = int(value) if value.isdigit() else value
    temperatures = [read(zone / "temp") for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*"))]
    degrees = [int(value) / 1000 for value in temperatures if value.lstrip("-").isdigit()]
    if degrees:
        state["hottest_celsius"] = max(degrees)
    return state


def read(path: Path) -> str:
    """A small file's text, or nothing."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
