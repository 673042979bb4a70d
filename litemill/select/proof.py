"""What the samples prove about each variant of a run: intervals that hold for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from litemill.artifacts.files import read_manifest
from litemill.artifacts.layout import EVALUATION, SAMPLES
from litemill.config.budget import Budget
from litemill.config.run import BASELINE
from litemill.errors import InputError
from litemill.evaluate.pairs import Samples, over, own_value, paired_drop, read_samples
from litemill.evaluate.simultaneous import (
    bonferroni,
    critical_value,
    level_of,
    resample,
    widened,
    worst_class,
    worst_of,
)
from litemill.evaluate.statistics import proportion
from litemill.evidence.base import Estimate
from litemill.evidence.outcome import Evaluation
from litemill.evidence.proof import ClassDrop, Family, Proof
from litemill.select.candidate import Candidate
from litemill.tasks.by_class import FIGURES

RESAMPLES = 400
"""Of a metric that is no sum over samples: for its correlations and the errors of its classes, not for tails."""
NO_CHANGE = Estimate(value=0.0, ci=(0.0, 0.0))
"""Of a file from itself."""
MOST_NUMBERS = 4 << 30
"""Numbers that are gone through for one critical value; beyond it Bonferroni's, which needs none, is taken."""
TAKEN_ONE_BY_ONE = ("top1", "top5")
"""Metrics that are proportions, whose interval needs no samples."""


@dataclass(frozen=True)
class Proofs:
    """The proofs by recipe, and how they were made."""

    family: Family = field(default_factory=Family)
    by_recipe: dict[str, Proof] = field(default_factory=dict)

    def of(self, candidate: Candidate) -> Proof:
        """That of a variant; an empty one where nothing is proved."""
        return self.by_recipe.get(candidate.recipe, Proof())


def prove(
    candidates: Sequence[Candidate],
    budget: Budget,
    *,
    champion: Candidate | None = None,
    reference: Path | None = None,
) -> Proofs:
    """Find the intervals that the gate goes by.

    Args:
        candidates: The variants of a run, without the champion.
        budget: Says what is limited and how sure the gate must be.
        champion: That of the registry, evaluated on the same samples.
        reference: Evaluation of the baseline bundle. Without it, or without the variants' samples, the separate
            intervals are widened as Bonferroni asks for.

    Raises:
        InputError: The champion or the baseline was evaluated on other samples.
    """
    judged = [one for one in candidates if not one.failure]
    variants = len({one.variant.sha256 or one.recipe for one in judged})
    samples = {one.recipe: found for one in judged if (found := _samples(one)) is not None}
    rival = _samples(champion) if champion and not champion.failure else None
    base = _reference(reference, judged)
    if champion and rival is not None:
        _check_same(champion, judged)
    columns = _columns(judged, samples, base, rival, own=budget.min_accuracy is not None)
    if columns is None:
        critical, method = bonferroni(variants, budget.confidence), "Bonferroni"
    else:
        critical, method = critical_value(columns, variants, budget.confidence), "max-T"
    judge = _Judge(budget, critical, base, rival, champion)
    return Proofs(
        Family(variants=variants, confidence=budget.confidence, critical=critical, method=method),
        {one.recipe: judge.proof(one, samples.get(one.recipe)) for one in judged},
    )


@dataclass(frozen=True)
class _Judge:
    """Makes the proof of each variant with one critical value."""

    budget: Budget
    critical: float
    base: Samples | None
    rival: Samples | None
    champion: Candidate | None

    def proof(self, one: Candidate, samples: Samples | None) -> Proof:
        evaluation = _evaluation(one)
        drop = evaluation.drop
        if drop is not None:
            drop = self._drop(one, self.base, samples, None) or widened(drop, self.critical)
        classes = self.budget.max_class_drop is not None
        return Proof(
            drop=drop,
            accuracy=self._own(one, samples) if self.budget.min_accuracy is not None else None,
            class_drop=self._class_drop(one, self.base, samples) if classes else None,
            champion_drop=self._drop(one, self.rival, samples, self.champion),
            champion_class_drop=self._class_drop(one, self.rival, samples, self.champion) if classes else None,
        )

    def _drop(
        self, one: Candidate, than: Samples | None, samples: Samples | None, other: Candidate | None
    ) -> Estimate | None:
        if other and _same_file(one, other):
            return NO_CHANGE
        if than is None or samples is None:
            return None
        found = paired_drop(_evaluation(one), than, samples, level_of(self.critical))
        return found if samples.right_or_wrong else widened(found, self.critical)

    def _own(self, one: Candidate, samples: Samples | None) -> Estimate | None:
        evaluation = _evaluation(one)
        if samples is not None:
            found = own_value(evaluation, samples, level_of(self.critical))
            return found if samples.right_or_wrong else widened(found, self.critical)
        if evaluation.metric not in TAKEN_ONE_BY_ONE or not evaluation.samples:
            return None
        right = np.arange(evaluation.samples) < round(evaluation.value * evaluation.samples)
        return proportion(right, level_of(self.critical))

    def _class_drop(
        self, one: Candidate, than: Samples | None, samples: Samples | None, other: Candidate | None = None
    ) -> ClassDrop | None:
        if than is None or samples is None:
            return None
        if other and _same_file(one, other):
            return ClassDrop(index=0, figure=_evaluation(one).per_class_metric, drop=NO_CHANGE)
        label = samples.label if samples.label is not None else than.label
        if label is not None:
            right = than.prediction == label, samples.prediction == label
            index, drop = worst_class(*right, label, self.critical)
            return ClassDrop(index=index, drop=drop)
        figure = FIGURES.get(_evaluation(one).per_class_metric)
        if figure is None or not figure.fits(samples.outcome, samples.target):
            return None
        first, second = (figure.over(found.outcome, found.target) for found in (than, samples))
        count = len(samples.outcome)

        def difference(index: NDArray[np.int64]) -> NDArray[np.float64]:
            weights = np.bincount(index, minlength=count)
            return np.asarray(first(weights) - second(weights))

        (drawn,) = resample([difference], count, draws=RESAMPLES)
        worst = worst_of(difference(np.arange(count)), drawn.std(axis=0), self.critical)
        return ClassDrop(index=worst[0], figure=figure.name, drop=worst[1]) if worst else None


def _columns(
    judged: Sequence[Candidate], samples: dict[str, Samples], base: Samples | None, rival: Samples | None, *, own: bool
) -> NDArray[np.float64] | None:
    """What each sample, or each resample, adds to each difference; None where it is not known or takes too long.

    The metrics themselves are among them (`own`) where the budget limits them.
    """
    others = [one for one in (base, rival) if one is not None]
    if base is None or len(samples) < len(judged) or not judged:
        return None
    every = [*samples.values(), *others]
    if all(one.right_or_wrong for one in every):
        right = np.stack([one.outcome for one in samples.values()], axis=1).astype(np.float64)
        parts = [*[right] * own, *(other.outcome[:, np.newaxis] - right for other in others)]
        return np.concatenate(parts, axis=1)
    if RESAMPLES * sum(one.outcome.size for one in every) > MOST_NUMBERS:
        return None
    evaluation = _evaluation(judged[0])
    metrics = [over(evaluation, one) for one in every]
    drawn = resample([lambda index, of=of: np.asarray(of(index)) for of in metrics], len(base.outcome), draws=RESAMPLES)  # type: ignore[misc]
    values = np.stack(drawn, axis=1)
    found = values[:, : len(samples)]
    differences = (values[:, [at]] - found for at in range(len(samples), len(every)))
    return np.concatenate([*[found] * own, *differences], axis=1)


def _same_file(one: Candidate, other: Candidate) -> bool:
    return bool(one.variant.sha256) and one.variant.sha256 == other.variant.sha256


def _evaluation(one: Candidate) -> Evaluation:
    if one.evaluation is None:
        raise LookupError(f"{one.recipe} was not evaluated")
    return one.evaluation


def _samples(one: Candidate) -> Samples | None:
    """What was found for each sample, where that is at hand."""
    file = next((file for file in one.files if file.name == SAMPLES and file.is_file()), None)
    return read_samples(file) if file else None


def _reference(reference: Path | None, judged: Sequence[Candidate]) -> Samples | None:
    folder = reference / BASELINE if reference else None
    if folder is None or not (folder / SAMPLES).is_file():
        return None
    found = read_manifest(folder / EVALUATION, Evaluation)
    if judged and found.data_sha256 != _evaluation(judged[0]).data_sha256:
        raise InputError("was evaluated on other samples than the variants", where=str(folder), fix="Evaluate it again")
    return read_samples(folder / SAMPLES)


def _check_same(champion: Candidate, judged: Sequence[Candidate]) -> None:
    """Refuse a champion that was evaluated on other samples."""
    own = _evaluation(champion)
    for one in judged[:1]:
        theirs = _evaluation(one)
        if (own.data_sha256, own.metric) != (theirs.data_sha256, theirs.metric):
            fix = "Evaluate it on the data of this run"
            raise InputError("the champion was evaluated on other samples than the variants", fix=fix)
