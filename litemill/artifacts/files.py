"""How a step writes: JSON manifests, digests, and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from litemill.errors import InputError
from litemill.redact import redacted

Manifest = TypeVar("Manifest", bound=BaseModel)
CHUNK = 1 << 20
SHOWN = 40
"""How much of a name goes into that of what is written beside it: together they must not exceed 255 bytes."""


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` to write into, and rename it to `out` when the block ends without an error.

    An empty `out` is replaced (Kubeflow makes it beforehand); one with content is an error, so nothing is lost.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("exists already and is not empty", where=str(out), fix="Remove it or name another place")
    work = Path(tempfile.mkdtemp(prefix=f".{out.name[:SHOWN]}.", dir=out.parent))
    try:
        yield work
        work.chmod(0o755)
        if out.exists():
            out.rmdir()
        work.replace(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:SHOWN]}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_manifest(path: Path, manifest: BaseModel) -> None:
    """Write a manifest as indented JSON, whole or not at all, and without secrets."""
    plain = manifest.model_dump(mode="json")
    if (clean := redacted(plain)) != plain:
        manifest = type(manifest).model_validate(clean)
    write_text(path, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(path: Path, kind: type[Manifest]) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: The file is missing or does not hold a manifest of that kind.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read ({error.strerror})", where=str(path)) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"is no {kind.__name__}: {place} {first['msg']}", where=str(path)) from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative names and contents in sorted order."""
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(item for item in path.rglob("*") if item.is_file()):
                digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
            return digest.hexdigest()
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(error.filename or path)) from None
    return digest.hexdigest()
