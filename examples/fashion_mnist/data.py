"""Make `data.npz` of Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017): 60,000 + 10,000 images of clothes, 28×28×1 uint8.

Reads Debian's package `dataset-fashion-mnist` where it is installed, else lets Keras download the same files.

    python examples/fashion_mnist/data.py [OUT.npz]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from litemill.config.run import DataSpec
from litemill.data.fashion_mnist import PLACES, open_fashion_mnist


def main() -> None:
    """Write the file."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data.npz"
    if not any(place.expanduser().is_dir() for place in PLACES):
        from litemill.models.backend import tf_keras

        tf_keras().datasets.fashion_mnist.load_data()
    splits = open_fashion_mnist(DataSpec(kind="fashion_mnist"), seed=0).splits
    arrays = {f"x_{name}": np.concatenate(list(split.blocks())) for name, split in splits.items()}
    np.savez_compressed(
        out, **arrays, **{f"y_{name}": split.targets.astype(np.uint8) for name, split in splits.items()}
    )
    sys.stdout.write(f"{out}: {len(arrays['x_train'])} train and {len(arrays['x_test'])} test images\n")


if __name__ == "__main__":
    main()
