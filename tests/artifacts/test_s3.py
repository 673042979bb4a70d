"""Models, data and releases on S3, against moto's server and against servers that refuse."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from litemill.artifacts.files import sha256_of
from litemill.artifacts.s3 import S3Storage
from litemill.artifacts.storage import STORES, check_place, digest, fetch, publish
from litemill.config.run import DataSpec
from litemill.data.prepare import prepare_data
from litemill.errors import ConfigError, InputError, LitemillError
from litemill.plugins import load


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a service that stands in for S3."""
    service = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    service.start()
    yield "http://{}:{}".format(*service.get_host_and_port())
    service.stop()


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without credentials, settings or cache of its own; the cache's folder."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def keys(plain: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same machine with keys."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return plain


@pytest.fixture
def s3(server: str, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client that Litemill uses, with an empty bucket `mill`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    client = S3Storage().client
    client.create_bucket(Bucket="mill")
    for item in client.list_objects_v2(Bucket="mill").get("Contents", []):
        client.delete_object(Bucket="mill", Key=item["Key"])
    return client


def put(s3: Any, key: str, content: bytes) -> None:
    s3.put_object(Bucket="mill", Key=key, Body=content)


def test_data_come_from_a_bucket_with_the_digest_that_was_pinned(s3: Any, tmp_path: Path) -> None:
    """A folder of arrays: its digest is known without a download, and what is written is what the objects hold."""
    rng = np.random.default_rng(0)
    for split, rows in (("train", 40), ("test", 20)):
        np.save(tmp_path / f"x_{split}.npy", rng.random((rows, 4), np.float32))
        np.save(tmp_path / f"y_{split}.npy", np.arange(rows) % 2)
    for file in tmp_path.glob("*.npy"):
        put(s3, f"sets/tiny/{file.name}", file.read_bytes())
    pinned = digest("s3://mill/sets/tiny")
    data = prepare_data(DataSpec(kind="numpy", uri="s3://mill/sets/tiny/"), 0, tmp_path / "dataset")
    assert data.source_sha256 == pinned
    assert data.splits["train"].samples == 40
    put(s3, "sets/tiny/y_test.npy", b"other")
    with pytest.raises(InputError, match="was changed since the run began"):
        fetch("s3://mill/sets/tiny", sha256=pinned)


def test_an_object_is_fetched_once_and_anew_when_it_changes(
    s3: Any, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bucket as a whole, and more objects than one page of a listing holds."""
    put(s3, "a/model.keras", b"first")
    put(s3, "a/model.keras.old", b"beside it, and not it")
    before, path = digest("s3://mill/a/model.keras"), fetch("s3://mill/a/model.keras")
    assert path.name == "model.keras" and path.read_bytes() == b"first" and path.is_relative_to(keys)
    written = path.stat().st_mtime_ns
    assert fetch("s3://mill/a/model.keras") == path and path.stat().st_mtime_ns == written
    put(s3, "a/model.keras", b"second")
    assert digest("s3://mill/a/model.keras") != before
    assert fetch("s3://mill/a/model.keras").read_bytes() == b"second"
    for index in range(5):
        put(s3, f"many/{index}", b"")
    monkeypatch.setattr("litemill.artifacts.s3.PAGE", 2)
    assert len(S3Storage().below("mill", "many/")) == 5
    assert (fetch("s3://mill") / "a/model.keras").read_bytes() == b"second"


def test_a_release_is_never_overwritten(s3: Any, tmp_path: Path) -> None:
    """Nor is one file of it, where two publish at the same moment: the service itself refuses the second."""
    content = np.random.default_rng(0).bytes(9 << 20)
    (tmp_path / "new/sub").mkdir(parents=True)
    (tmp_path / "new/model.tflite").write_bytes(content)
    (tmp_path / "new/sub/facts.json").write_text("{}")
    assert publish(tmp_path / "new", "s3://mill/releases/", "v1") == "s3://mill/releases/v1"
    assert sha256_of(fetch("s3://mill/releases/v1")) == sha256_of(tmp_path / "new")
    with pytest.raises(InputError, match=r"^s3://mill/releases/v1: exists already; a release is never overwritten$"):
        publish(tmp_path / "new", "s3://mill/releases", "v1")
    storage = S3Storage()
    with pytest.raises(InputError, match="exists already"), storage.errors("s3://mill/releases/v1"):
        storage.upload(tmp_path / "new/sub/facts.json", "mill", "releases/v1/model.tflite")
    assert s3.head_object(Bucket="mill", Key="releases/v1/model.tflite")["ContentLength"] == len(content)
    publish(tmp_path / "new", "s3://mill/releases", "v10")


def test_what_is_missing_or_changes_meanwhile_is_told_in_one_line(s3: Any, tmp_path: Path) -> None:
    """An absent object, an absent bucket, addresses that are none, an object that is replaced while it is read."""
    for uri in ("s3://mill/none.npz", "s3://no-such-bucket/x.npz", "s3://mill/none/"):
        with pytest.raises(InputError, match=f"^{uri}: no such"):
            fetch(uri)
    for uri, message in (("s3:///x", "names a bucket"), ("s3:/x", "names a bucket"), ("s3://a b/x", "not an address")):
        with pytest.raises(InputError, match=message) as answer:
            fetch(uri)
        assert "\n" not in str(answer.value)
    put(s3, "moving", b"one")
    found = S3Storage().find("s3://mill/moving")
    put(s3, "moving", b"two")
    with pytest.raises(InputError, match="s3://mill/moving: was changed while it was read"):
        found.download(tmp_path / "got")
    assert not list(tmp_path.glob("got*"))


def test_a_name_that_leads_out_of_the_folder_is_refused(s3: Any, tmp_path: Path) -> None:
    """Objects may be called anything."""
    put(s3, "folder/../../evil", b"x")
    with pytest.raises(LitemillError):
        fetch("s3://mill/folder", tmp_path / "into")
    assert not list(tmp_path.rglob("evil"))


ANSWER = "<Error><Code>{}</Code><Message>no</Message><Region>eu-west-1</Region></Error>"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", r"access refused \(AccessDenied\)\. Grant the account"),
        (403, "SignatureDoesNotMatch", r"access refused \(SignatureDoesNotMatch\)\. Grant the account"),
        (301, "PermanentRedirect", r"the bucket is in eu-west-1\. Set AWS_DEFAULT_REGION"),
        (503, "SlowDown", r"the storage service did not answer: SlowDown: no"),
    ],
)
def test_a_service_that_refuses_is_told(
    keys: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, message: str
) -> None:
    """In one line that names the address and what to do; no key is repeated."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = ANSWER.format(code).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{service.server_port}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    try:
        with pytest.raises(LitemillError, match=message) as answer:
            fetch("s3://mill/x.npz")
        assert "\n" not in str(answer.value) and "very-secret" not in str(answer.value)
        assert str(answer.value).startswith("s3://mill/x.npz: ")
    finally:
        service.shutdown()


def test_without_credentials_or_service_the_error_says_what_to_set(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No keys, a profile that is not there, a service that is not there."""
    with pytest.raises(InputError, match=r"no usable AWS credentials: .*\. Set AWS_ACCESS_KEY_ID"):
        fetch("s3://mill/x.npz")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match=r"no usable AWS credentials: .*nobody.*\. Set AWS_ACCESS_KEY_ID"):
        fetch("s3://mill/x.npz")
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(LitemillError, match="the storage service did not answer: ") as answer:
        fetch("s3://mill/x.npz")
    assert "\n" not in str(answer.value)


def test_an_unknown_kind_of_address_is_told_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For reading and for publishing; a path that only looks like an address is still a path."""
    for uri, message in (("s3s://mill/x", "did you mean 's3'"), ("ftp://mill/x", "known: gs, s3, models, runs")):
        for use in (fetch, digest, check_place):
            with pytest.raises(ConfigError, match=f"{uri}: unknown storage .*{message}"):
                use(uri)
    with pytest.raises(InputError, match=r"is not a place to publish to\. Give a folder, or gs://bucket/key, s3://"):
        check_place("models:/doorbell")
    monkeypatch.chdir(tmp_path)
    Path("c:").mkdir()
    Path("c:/model").write_text("x")
    assert fetch("c:/model").read_text() == "x"


def test_every_storage_can_be_opened_and_none_is_loaded_before_it_is_used() -> None:
    """A local run imports no cloud's client."""
    for store in STORES.records():
        assert hasattr(load(store.opens)(), "find")
    code = (
        "import sys; from litemill.artifacts.storage import STORES, digest; digest('setup.py');"
        "assert not {'boto3', 'google.cloud.storage', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
