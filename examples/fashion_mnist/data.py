"""Make `data.npz` of Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017): 60,000 + 10,000 images of clothes, 28×28 uint8.

Reads Debian's package `dataset-fashion-mnist` where it is installed, else lets Keras download the same files.

    python examples/fashion_mnist/data.py [OUT.npz]
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FILES = {"train": "train", "test": "t10k"}
IMAGES, LABELS = 0x0803, 0x0801
"""Magic numbers of the IDX format: unsigned bytes in three and in one dimension."""


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file: big-endian magic number and sizes, then the bytes."""
    with gzip.open(path) as stream:
        content = stream.read()
    dimensions = magic & 0xFF
    header = np.frombuffer(content, ">i4", 1 + dimensions)
    if header[0] != magic:
        raise SystemExit(f"{path}: not the IDX file expected (magic number {header[0]:#x}, not {magic:#x})")
    return np.frombuffer(content, np.uint8, offset=header.nbytes).reshape(header[1:])


def load() -> dict[str, NDArray[np.uint8]]:
    """The four arrays; images are `[samples, 28, 28, 1]`."""
    if DEBIAN.is_dir():
        arrays = {}
        for split, prefix in FILES.items():
            arrays[f"x_{split}"] = read_idx(DEBIAN / f"{prefix}-images-idx3-ubyte.gz", IMAGES)
            arrays[f"y_{split}"] = read_idx(DEBIAN / f"{prefix}-labels-idx1-ubyte.gz", LABELS)
    else:
        from litemill.models.backend import tf_keras

        train, test = tf_keras().datasets.fashion_mnist.load_data()
        arrays = {"x_train": train[0], "y_train": train[1], "x_test": test[0], "y_test": test[1]}
    return {name: array[..., np.newaxis] if name.startswith("x") else array for name, array in arrays.items()}


def main() -> None:
    """Write the file."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data.npz"
    arrays = load()
    np.savez_compressed(out, **arrays)
    sys.stdout.write(f"{out}: {len(arrays['x_train'])} train and {len(arrays['x_test'])} test images\n")


if __name__ == "__main__":
    main()
