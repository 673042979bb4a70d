"""The config's fuzzer, for seconds here and for minutes in e2e."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.fuzz import fuzz


def test_valid_configs_load_and_all_others_are_one_error(tmp_path: Path) -> None:
    counts = fuzz(60, tmp_path)
    assert counts["valid"] >= 60 and counts["refused"] >= 60


@pytest.mark.e2e
def test_minutes_of_configs_end_in_a_config_or_one_error(tmp_path: Path) -> None:
    counts = fuzz(300, tmp_path, seconds=180)
    assert counts["valid"] >= 300 and counts["refused"] >= 300
