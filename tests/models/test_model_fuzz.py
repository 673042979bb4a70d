"""Damaged and odd model files of each format are read, or refused in one line that names the file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.models.fuzz import Fuzzer


def test_odd_model_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    fuzzer = Fuzzer(tmp_path, seed=1)
    for _ in range(150):
        fuzzer.once()
    assert len(fuzzer.counts) > 8, "each format, read and refused"


@pytest.mark.e2e
def test_odd_model_files_for_minutes(tmp_path: Path) -> None:
    fuzzer, end = Fuzzer(tmp_path, seed=time.time_ns() % 2**32), time.monotonic() + 180
    while time.monotonic() < end:
        fuzzer.once()
    assert sum(fuzzer.counts.values()) > 300
