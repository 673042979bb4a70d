"""The fuzzer of data sets, for seconds here and for minutes in e2e."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.fuzz import fuzz


def test_damaged_data_sets_are_read_or_one_error(tmp_path: Path) -> None:
    counts = fuzz(tmp_path, count=60)
    assert sum(counts.values()) == 60 and sum(count for name, count in counts.items() if "refused" in name) > 20


@pytest.mark.e2e
def test_minutes_of_damaged_data_sets_are_read_or_one_error(tmp_path: Path) -> None:
    counts = fuzz(tmp_path, seconds=180, seed=1)
    assert {name.partition(" ")[0] for name in counts} >= {"npz", "numpy", "csv", "image_folder", "tfrecord"}
