"""Publish the winner of a run where devices fetch it from, and check what was published."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

from litemill.artifacts.storage import fetch, publish, store_of
from litemill.errors import ConfigError, InputError, LitemillError
from litemill.shipping.build import Wishes, build, release_name
from litemill.shipping.verify import Verified, verify_folder
from litemill.track.spool import Register, Release, here

log = logging.getLogger(__name__)


def release(results: str | Path, uri: str, *, intended_use: str = "", sign_with: str = "", samples: int = 16) -> str:
    """Publish the winner of a run with its evidence, once and for good.

    A release is named after the recipe and the digest of its file, so the same winner has the same address and another
    one never overwrites it. It holds the file, its evidence, `release.json`, a model card, a bill of materials,
    `SHA256SUMS` and, where a key is named, a signature.

    Args:
        results: Folder with `results.json`, the report and `variants/`, as `run` and `compare` write it.
        uri: Folder, gs:// or s3:// prefix; nothing in it is ever overwritten.
        intended_use: What the model is for: your own text in the model card.
        sign_with: Variable of the environment that holds the private key (PEM), or names its file.
        samples: Test samples that are kept with it, so that `verify` can ask the file again; 0 keeps none.

    Returns:
        Address of the release; where the same file was released before, that address. Empty where it waits for MLflow.

    Raises:
        StepFailed: No variant won, so there is nothing to release.
        DamagedFile: The winner's file is not the one that was judged.
        ConfigError: The signing key cannot be used.
        InputError: Something else is at the address, or access is refused.
    """
    wishes, spool = Wishes(intended_use, sign_with, samples), here()
    if spool and spool.offline and spool.kept("register", Register):
        spool.keep("release", Release(uri=uri, options=asdict(wishes)))  # what is not registered is not released
        return ""
    return release_winner(Path(results), uri, wishes)


def release_winner(results: Path, uri: str, wishes: Wishes | None = None) -> str:
    """Publish the winning variant; see `release`."""
    with tempfile.TemporaryDirectory() as beside:
        folder = Path(beside) / "release"
        made = build(results, folder, wishes or Wishes())
        name = release_name(made)
        try:
            return publish(folder, uri, name)
        except InputError:
            # A nightly run that finds the same winner again has nothing to publish; anything else there is an error.
            place = f"{uri.rstrip('/')}/{name}"
            if problem := _differs(place, made.sha256):
                log.warning("%s is not a whole release of this file: %s", place, problem)
                raise
            return place


def _differs(place: str, sha256: str) -> str:
    """Why what is at an address is not a whole release of this very file; empty where it is one."""
    try:
        return "" if verify(place).sha256 == sha256 else "it is of another file"
    except (LitemillError, OSError) as error:
        return str(error)


def verify(uri: str | Path, *, key: str | Path = "") -> Verified:
    """Check a release from end to end: digests, signature, evidence, and that the file answers as the evidence says.

    Nothing but the release itself is fetched.

    Args:
        uri: Folder or address of the release.
        key: File with the public key (PEM) of who must have signed it. Without it a signature shows damage only, and
            not who signed.

    Returns:
        What was checked, and holds.

    Raises:
        Tampered: Names the file that is not as it was released, and why.
        InputError: There is no release, or it cannot be read.
        ConfigError: The key cannot be read.
    """
    try:
        pem = Path(key).read_bytes() if key else None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(key)) from None
    address = str(uri)
    if store_of(address) is None:
        place = fetch(address)
        if not place.is_dir():
            raise InputError("is a file; a release is a folder", where=address)
        return verify_folder(place, pem)
    with tempfile.TemporaryDirectory(prefix="litemill-") as scratch:
        return verify_folder(fetch(address, Path(scratch)), pem)
