"""Data kind `digits`: scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak, 1998), 8×8 grey values 0–16."""

from __future__ import annotations

import numpy as np

from litemill.data.source import Labels, Samples, Source, SourceSplit
from litemill.spec import DataSpec

SEED = 20
"""Of the fixed split: the same test digits whatever the seed of a run."""
TEST_SAMPLES = 450


def open_digits(spec: DataSpec) -> Source:
    """Open the digits: 1,347 to train with and 450 to test on, in a fixed, stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = np.asarray(digits.images, np.uint8)[..., np.newaxis]
    y = np.asarray(digits.target, np.int64)
    train, test = train_test_split(np.arange(len(y)), test_size=TEST_SAMPLES, stratify=y, random_state=SEED)
    return Source({name: _split(name, x[index], y[index]) for name, index in (("train", train), ("test", test))})


def _split(name: str, x: Samples, y: Labels) -> SourceSplit:
    return SourceSplit(name, f"digits[{name}]", x.shape[1:], x.dtype, y, lambda: iter([x]))
