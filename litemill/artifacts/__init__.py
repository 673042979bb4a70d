"""How steps read and write: manifests, the layout of their folders, stored files and addresses."""

from litemill.artifacts.files import read_manifest, sha256_of, staged, write_manifest

__all__ = ["read_manifest", "sha256_of", "staged", "write_manifest"]
