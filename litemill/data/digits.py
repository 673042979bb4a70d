"""Data kind `digits`: scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak, 1998), 8×8 grey values 0–16."""

from __future__ import annotations

import numpy as np

from litemill.config.run import DataSpec
from litemill.data.labels import targets_for
from litemill.data.source import Source, SourceSplit, reading_array

SEED = 20
"""Of the fixed split: the same test digits whatever the seed of a run."""
TEST_SAMPLES = 450


def open_digits(spec: DataSpec, seed: int) -> Source:
    """Open the digits: 1,347 to train with and 450 to test on, in a fixed, stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = np.asarray(digits.images, np.uint8)[..., np.newaxis], np.asarray(digits.target)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SAMPLES, stratify=labels, random_state=SEED)
    splits = {}
    for name, index in (("train", train), ("test", test)):
        x, where = images[index], f"digits[{name}]"
        targets = targets_for(spec.task, labels[index], len(index), where)
        splits[name] = SourceSplit(name, where, x.shape[1:], x.dtype, targets, reading_array(x))
    return Source(splits, [str(name) for name in digits.target_names])
