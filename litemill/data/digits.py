"""Data kind `digits`: scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak, 1998), 8×8 grey values 0–16.

The file is read out of the installed package, which is not imported: that takes longer than all else a plan does.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from litemill.config.run import DataSpec
from litemill.data.labels import targets_for
from litemill.data.source import Index, Labels, Source, SourceSplit, reading_array
from litemill.errors import LitemillError

PLACE = "datasets/data/digits.csv.gz"
"""In the package `sklearn`; a line is 64 grey values and the digit."""
SEED = 20
"""Of the fixed split: the same test digits whatever the seed of a run."""
TEST_SAMPLES = 450


def open_digits(spec: DataSpec, seed: int) -> Source:
    """Open the digits: 1,347 to train with and 450 to test on, in a fixed, stratified split.

    Raises:
        LitemillError: scikit-learn is not installed, or its file is not there.
    """
    images, labels = read_digits()
    splits = {}
    for name, index in zip(("train", "test"), split_rows(labels, TEST_SAMPLES, SEED), strict=True):
        x, where = images[index], f"digits[{name}]"
        targets = targets_for(spec.task, labels[index], len(index), where)
        splits[name] = SourceSplit(name, where, x.shape[1:], x.dtype, targets, reading_array(x))
    return Source(splits, [str(label) for label in np.unique(labels)])


def read_digits() -> tuple[NDArray[np.uint8], Labels]:
    """All images `[1797, 8, 8, 1]` and their digits, in the order of the file.

    Raises:
        LitemillError: scikit-learn is not installed, or its file is not there.
    """
    package = find_spec("sklearn")
    path = Path(package.origin).parent / PLACE if package and package.origin else None
    if path is None or not path.is_file():
        fix = "Install scikit-learn, whose wheel holds the digits"
        raise LitemillError("the digits of scikit-learn are not here", where=str(path or "sklearn"), fix=fix)
    rows = np.loadtxt(path, np.uint8, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1].astype(np.int64)


def split_rows(labels: Labels, test_samples: int, seed: int) -> tuple[Index, Index]:
    """Rows to train with and to test on, each class in its proportion.

    The same rows in the same order as scikit-learn's `train_test_split(…, stratify=labels, random_state=seed)`.
    """
    rng = np.random.RandomState(seed)
    sizes = np.unique(labels, return_counts=True)[1]
    rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    train_sizes = _shares(sizes, len(labels) - test_samples, rng)
    test_sizes = _shares(sizes - train_sizes, test_samples, rng)
    train, test = [], []
    for of_class, first, second in zip(rows, train_sizes, test_sizes, strict=True):
        shuffled = of_class[rng.permutation(len(of_class))]
        train.append(shuffled[:first])
        test.append(shuffled[first : first + second])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _shares(sizes: Index, count: int, rng: np.random.RandomState) -> Index:
    """How many of each class are drawn: the largest remainders first, and chance between equal ones."""
    exact = sizes / sizes.sum() * count
    shares = np.floor(exact)
    missing, remainders = int(count - shares.sum()), exact - shares
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        drawn = rng.choice(equal, size=min(len(equal), missing), replace=False)
        shares[drawn] += 1
        missing -= len(drawn)
    drawn_of_each: Index = shares.astype(np.int64)
    return drawn_of_each
