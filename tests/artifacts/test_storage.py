"""Local storage; Google Cloud Storage is in tests/e2e."""

from __future__ import annotations

from pathlib import Path

import pytest

from litemill.artifacts.files import sha256_of
from litemill.artifacts.storage import digest, fetch, publish
from litemill.errors import InputError


def test_local_paths_are_used_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert fetch(str(tmp_path / "a")) == tmp_path / "a"
    assert digest(str(tmp_path / "a")) == sha256_of(tmp_path / "a")
    with pytest.raises(InputError, match="missing: no such file or folder"):
        fetch(str(tmp_path / "missing"))


def test_a_release_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "new/sub").mkdir(parents=True)
    (tmp_path / "new/sub/file").write_text("1")
    place = publish(tmp_path / "new", str(tmp_path / "releases"), "v1")
    assert place == f"{tmp_path}/releases/v1"
    (tmp_path / "new/sub/file").write_text("2")
    with pytest.raises(InputError, match="exists already"):
        publish(tmp_path / "new", str(tmp_path / "releases"), "v1")
    assert Path(place, "sub/file").read_text() == "1"


def test_an_empty_folder_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to publish"):
        publish(tmp_path / "empty", str(tmp_path / "releases"), "v1")
