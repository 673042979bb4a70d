"""A release is immutable, the same winner is released once, and nothing of it can be changed unseen."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from litemill.artifacts.files import sha256_of
from litemill.artifacts.proof import DamagedFile
from litemill.cli import console
from litemill.cli.app import app
from litemill.errors import ConfigError, InputError, StepFailed
from litemill.shipping.manifest import SUMS, Release, Tampered, digests_of, written_sums
from litemill.stages.compare import compare
from litemill.stages.release import release, verify
from tests.small_run import LABELS, Small, write_small

KEY = "RELEASE_KEY"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two runs, `a` and `b`, whose winners differ."""
    folder = tmp_path_factory.mktemp("compared")
    for name, seed in (("a", 0), ("b", 1)):
        variants, evaluation, measured = write_small(folder / name, Small(seed=seed, accuracy=0.9 - seed / 100))
        compare([variants], [evaluation], [measured], out=folder / name / "results", name="weather")
    return folder


@pytest.fixture
def results(compared: Path, tmp_path: Path) -> Path:
    """What `compare` leaves, with one variant that won."""
    shutil.copytree(compared / "a/results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of keys: ours, and somebody else's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        made = ec.generate_private_key(ec.SECP256R1())
        pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / f"{name}.pem").write_bytes(made.private_bytes(pem, pkcs8, plain))
        public = made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def signed(compared: Path, keys: Path) -> tuple[Path, Path]:
    """A signed release of each run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, str(keys / "ours.pem"))
        made = [
            release(compared / name / "results", str(compared / "released"), intended_use="A lamp.", sign_with=KEY)
            for name in "ab"
        ]
    return Path(made[0]), Path(made[1])


def test_the_same_winner_is_released_once(results: Path, tmp_path: Path) -> None:
    """A nightly run must not fail because it found the same winner again."""
    first = release(results, str(tmp_path / "released"), intended_use="To tell *the weather*.")
    before = sha256_of(Path(first))
    again = release(results, str(tmp_path / "released"), intended_use="To tell the weather, later.")
    assert first == again and sha256_of(Path(first)) == before, "what is published stays as it is"
    folder = Path(first)
    assert {file.name for file in folder.iterdir()} == {
        *("model.tflite", "variant.json", "evaluation.json", "measurement.host.json", "probe.npz"),
        *("results.json", "report.html", "summary.md"),
        *("release.json", "MODEL_CARD.md", "bom.cdx.json", "SHA256SUMS"),
    }
    found = Release.model_validate_json((folder / "release.json").read_text())
    assert found.sha256 == sha256_of(folder / "model.tflite") and found.interface
    assert (found.interface.labels, found.interface.preprocessing["scale"]) == (LABELS, 0.5)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "To tell *the weather*." in card and "| rain | 0.9000 |" in card and found.sha256 in card
    bill = json.loads((folder / "bom.cdx.json").read_text())
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": found.sha256}]
    refs = {one["bom-ref"] for one in bill["components"]}
    assert {one["ref"] for one in bill["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]} <= refs
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=folder, check=True)
    assert verify(first).samples == 12


def test_something_else_at_the_address_is_an_error_and_stays(results: Path, tmp_path: Path) -> None:
    """What is published is never overwritten."""
    address = Path(release(results, str(tmp_path / "released")))
    (address / "model.tflite").write_bytes(b"tampered with")
    with pytest.raises(InputError, match="exists already"):
        release(results, str(tmp_path / "released"))
    assert (address / "model.tflite").read_bytes() == b"tampered with"


def test_a_file_that_is_not_the_one_that_was_judged_is_never_released(results: Path, tmp_path: Path) -> None:
    """A damaged file must not reach a device under the name of a good one."""
    made = results / "variants/int8/variant.json"
    sound = made.read_text()
    made.write_text(sound.replace(sha256_of(results / "variants/int8/model.tflite"), "0" * 64))
    with pytest.raises(DamagedFile, match="its manifest says 000000000000"):
        release(results, str(tmp_path / "released"))
    made.write_text(sound)
    file = results / "variants/int8/model.tflite"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(DamagedFile, match="its manifest says"):
        release(results, str(tmp_path / "released"))
    written = json.loads((results / "results.json").read_text())
    (results / "results.json").write_text(json.dumps({**written, "winner": ""}))
    with pytest.raises(StepFailed, match="nothing to release"):
        release(results, str(tmp_path / "released"))
    assert not (tmp_path / "released").exists()


def test_no_samples_leave_the_house_where_the_config_says_so(results: Path, tmp_path: Path) -> None:
    none = Path(release(results, str(tmp_path / "none"), samples=0))
    assert not (none / "probe.npz").exists() and verify(none).samples == 0
    two = Path(release(results, str(tmp_path / "two"), samples=2))
    assert verify(two).samples == 2
    with np.load(two / "probe.npz") as probe:
        assert {len(probe[name]) for name in probe.files} == {2}


def test_a_signature_tells_who_released(
    signed: tuple[Path, Path], keys: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = verify(signed[0], key=keys / "ours.pub")
    assert found.trusted and found.signed_by == sha256_of(keys / "ours.pub")
    assert not verify(signed[0]).trusted
    with pytest.raises(Tampered, match="was made with another key than the one given"):
        verify(signed[0], key=keys / "theirs.pub")
    with pytest.raises(Tampered, match="is not signed, and a signer's key was given"):
        verify(release(results, str(tmp_path / "unsigned")), key=keys / "ours.pub")
    monkeypatch.setattr("sys.argv", ["litemill", "verify", str(signed[0]), "--key", str(keys / "ours.pub")])
    with pytest.raises(SystemExit) as ended:
        console.run(app)
    assert not ended.value.code
    assert "files as released, signed by the key" in " ".join(capsys.readouterr().out.split())


def test_a_key_that_cannot_be_used_is_told_without_it(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for held, message in (
        ("", "the variable that should hold the signing key is not set"),
        (str(tmp_path / "none.pem"), "the file of the signing key cannot be read"),
        ("-----BEGIN hunter2", "does not hold a private key in PEM that can be opened"),
        (made.decode(), "is not a key on one of the curves"),
    ):
        monkeypatch.setenv(KEY, held)
        with pytest.raises(ConfigError, match=message) as error:
            release(results, str(tmp_path / "released"), sign_with=KEY)
        assert "hunter2" not in str(error.value) and str(error.value).startswith(KEY)
    assert not (tmp_path / "released").exists()


def flipped(name: str, at: float = 0.5) -> Callable[[Path, Path], None]:
    """One bit of a file is another."""

    def tamper(folder: Path, other: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[int(at * (len(data) - 1))] ^= 1
        (folder / name).write_bytes(data)

    return tamper


def swapped(name: str, *, again: bool = False) -> Callable[[Path, Path], None]:
    """A file is that of another release; `again`: and all digests were made anew."""

    def tamper(folder: Path, other: Path) -> None:
        shutil.copyfile(other / name, folder / name)
        if again:
            with_new_digests(folder)

    return tamper


def with_new_digests(folder: Path, **changes: object) -> None:
    """What somebody without the key would do after a change."""
    written = json.loads((folder / "release.json").read_text()) | changes
    for name in ("model.sig", "signer.pem"):
        (folder / name).unlink(missing_ok=True)
    written["signer"], written["files"] = "", digests_of(folder, without=("release.json", SUMS))
    (folder / "release.json").write_text(json.dumps(written))
    (folder / SUMS).write_text(written_sums(digests_of(folder, without=(SUMS,))))


def stale_data(folder: Path, other: Path) -> None:
    data = json.loads((folder / "release.json").read_text())["data"]
    with_new_digests(folder, data=data | {"test": "e" * 64})


def other_answers(folder: Path, other: Path) -> None:
    with np.load(folder / "probe.npz") as probe:
        kept = dict(probe)
    np.savez_compressed(folder / "probe.npz", **{**kept, "outputs": kept["outputs"][::-1]})
    with_new_digests(folder)


TAMPERED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    **{f"a bit of {name}": (flipped(name), name) for name in (
        "model.tflite", "variant.json", "evaluation.json", "measurement.host.json", "probe.npz", "results.json",
        "report.html", "summary.md", "release.json", "MODEL_CARD.md", "bom.cdx.json", "SHA256SUMS", "model.sig",
        "signer.pem",
    )},
    "the first bit of the model": (flipped("model.tflite", 0.0), "model.tflite"),
    "the last bit of the signature": (flipped("model.sig", 1.0), "model.sig"),
    "a swapped report": (swapped("report.html"), "report.html"),
    "a swapped report, digests anew": (swapped("report.html", again=True), "report.html"),
    "copied evidence": (swapped("evaluation.json"), "evaluation.json"),
    "copied evidence, digests anew": (swapped("evaluation.json", again=True), "evaluation.json"),
    "a copied measurement, digests anew": (swapped("measurement.host.json", again=True), "measurement.host.json"),
    "another model, digests anew": (swapped("model.tflite", again=True), "model.tflite"),
    "a copied card, digests anew": (swapped("MODEL_CARD.md", again=True), "MODEL_CARD.md"),
    "samples of another release, digests anew": (swapped("probe.npz", again=True), "probe.npz"),
    "other answers, digests anew": (other_answers, "probe.npz"),
    "a stale digest of the data, digests anew": (stale_data, "evaluation.json"),
    "a copied signature": (swapped("model.sig"), "model.sig"),
    "a removed file": (lambda folder, other: (folder / "summary.md").unlink(), "summary.md"),
    "a removed signature": (lambda folder, other: (folder / "model.sig").unlink(), "model.sig"),
    "removed digests": (lambda folder, other: (folder / SUMS).unlink(), SUMS),
    "an added file": (lambda folder, other: (folder / "notes.txt").write_text("hello"), "notes.txt"),
    "a link": (lambda folder, other: (folder / "more").symlink_to("/etc/hostname"), "more"),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_a_release_that_was_tampered_with_is_refused(how: str, signed: tuple[Path, Path], tmp_path: Path) -> None:
    tamper, name = TAMPERED[how]
    folder = tmp_path / "release"
    shutil.copytree(signed[0], folder)
    verify(folder)
    tamper(folder, signed[1])
    began = time.process_time()
    with pytest.raises(Tampered) as error:
        verify(folder)
    assert time.process_time() - began < 5
    assert Path(error.value.where).name == name and len(str(error.value).splitlines()) == 1


def test_what_is_not_a_release_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a release: it has neither"):
        verify(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; a release is a folder"):
        verify(tmp_path / "file")
    with pytest.raises(InputError, match="no such file or folder"):
        verify(tmp_path / "none")
