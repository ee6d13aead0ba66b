"""Which pictures may have a wrong label: those whose class a linear classifier, fitted on others, finds improbable.

A logistic regression on what a pretrained network gives is fitted five times, each time on four fifths of the pictures,
and says of the last fifth what it is, with a temperature. A picture is a candidate where confident learning says so
(another class is at least as probable as it is on average for its own pictures, or is sure) and its own class has 10 %
at most. The first are those whose class is the least probable beside the one that is said instead.

Measured with 5 % of the labels changed (`benchmarks/results/planted_labels.csv`): by the ratio of both probabilities,
more of the first ones are wrong indeed than by their difference or by the class's own, at random; between similar
classes the difference is about as good.

Source: Northcutt, Jiang and Chuang, Confident Learning, arXiv:1911.00068, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ception.evaluation.calibration import fit_temperature, log_probabilities
from ception.reporting import Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
IMPROBABLE, SURE = 0.1, 0.9
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: the less, the stronger the regularisation
_TRIED_ON, _FITTED_ON = 5_000, 20_000  # most pictures, for the strength and for a fold
_OF_CLASS = 50  # least of a class among these, so that no rare one is forgotten
_NEVER = -np.inf  # logarithm of the probability of a class that none of those that were fitted on have
_LEAST = 1e-20  # probability of any other class: one that rounds to 0 would count without end
_AT_ONCE = 4_096  # pictures whose features are in memory, beside those that are fitted on


class Rows(Protocol):
    """Features by the pictures' places."""

    def __getitem__(self, places: NDArray[np.integer]) -> NDArray[np.float32]:
        """float32 of shape (places, channels)."""


@dataclass(frozen=True)
class Doubt:
    """A picture whose label may be wrong.

    Attributes:
        place: Of the picture.
        label: What the others say that it is.
        probability: Of that, 0..1.
        own: Probability of the label that it has.
    """

    place: int
    label: int
    probability: float
    own: float


def together(count: int, groups: Sequence[NDArray[np.integer]], names: Sequence[str] | None) -> NDArray[np.intp]:
    """For each picture the number of those that it must not be parted from: copies, and what has the same name.

    Args:
        count: How many pictures there are.
        groups: Indices of pictures that show the same.
        names: Of the group that each picture is in by the user's word, if any.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [(group[0], other) for group in groups for other in group[1:]]
    if names is not None:
        first: dict[str, int] = {}
        pairs += [(first.setdefault(name, index), index) for index, name in enumerate(names)]
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    links = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1])


def out_of_fold(
    features: Rows, labels: NDArray[np.integer], groups: NDArray[np.integer], reporter: Reporter
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """How probable each class is for each picture, by classifiers that saw neither it nor a copy of it.

    Args:
        features: Of the pictures.
        labels: Of the pictures.
        groups: For each picture the number of those that it must not be parted from.
        reporter: Receives progress.

    Returns:
        The places of the pictures whose class has enough others, `FOLDS` groups at least, and is among those that the
        picture's classifier was fitted on; and for these the probabilities, of shape (pictures, classes). Nothing where
        there are not two such classes.
    """
    different = [len(np.unique(groups[labels == label])) for label in range(int(labels.max(initial=-1)) + 1)]
    enough = np.flatnonzero(np.array([*different, 0])[labels] >= FOLDS)
    if len(np.unique(labels[enough])) < 2:
        return enough[:0], np.zeros((0, len(different)))
    with reporter.task("Telling classes apart", FOLDS * (len(_STRENGTHS) + 1)) as task:
        few = enough[_part(labels[enough], _TRIED_ON)]
        strength, logits = _best(
            lambda strength: _folds(features, few, labels, groups, strength, task.advance), labels[few]
        )
        if len(few) < len(enough):
            logits = _folds(features, enough, labels, groups, strength, task.advance)
    known = _knows(logits, labels[enough])
    return enough[known], _calibrated(logits, labels[enough])[known]


def _best(
    logits_with: Callable[[float], NDArray[np.float32]], labels: NDArray[np.integer]
) -> tuple[float, NDArray[np.float32]]:
    """The strength of regularisation that gives the lowest log loss, and the logits that it gives."""
    strength, least, best = _STRENGTHS[0], np.inf, np.zeros((0, 0), np.float32)
    for tried in _STRENGTHS:
        logits = logits_with(tried)
        known = _knows(logits, labels)
        own = _calibrated(logits, labels)[known, labels[known]]
        loss = -float(np.log(own + 1e-9).mean())
        if loss >= least:
            break
        strength, least, best = tried, loss, logits
    return strength, best


def _knows(logits: NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether a picture's classifier was fitted on others of its class, all of which may be in its own fold."""
    return np.asarray(logits[np.arange(len(labels)), labels] > _NEVER)


def _calibrated(logits: NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Probabilities that mean what they say, of classifiers that a strong regularisation makes too cautious."""
    known = _knows(logits, labels)
    return np.exp(log_probabilities(logits, fit_temperature(labels[known], logits[known])))


def _part(labels: NDArray[np.integer], most: int) -> NDArray[np.intp]:
    """Places of about `most` pictures by chance, each class with its share or `_OF_CLASS`, if it has so many."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))
    parts = [order[labels[order] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([one[: max(_OF_CLASS, round(most * len(one) / len(labels)))] for one in parts]))


def _folds(
    features: Rows, places: NDArray[np.intp], labels: NDArray[np.integer], groups: NDArray[np.integer],
    strength: float, advance: Callable[[], None],
) -> NDArray[np.float32]:  # fmt: skip
    """Logits of each class, otherwise as `out_of_fold`, for some places and one strength."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    of = labels[places]
    found = np.full((len(places), int(labels.max()) + 1), _NEVER, np.float32)
    for fitted, told in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(places, of, groups[places]):
        fitted = fitted[_part(of[fitted], _FITTED_ON)]
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500, tol=1e-3))
        classifier.fit(features[places[fitted]], of[fitted])
        for start in range(0, len(told), _AT_ONCE):
            now = told[start : start + _AT_ONCE]
            said = np.maximum(classifier.predict_proba(features[places[now]]), _LEAST)
            found[np.ix_(now, classifier.classes_)] = np.log(said)
        advance()
    return found


def doubtful(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> list[Doubt]:
    """The pictures whose label may be wrong, the surest first.

    Args:
        probabilities: Of each class for each picture, by classifiers that did not see it.
        labels: Of the pictures.
    """
    every = np.arange(len(labels))
    own = probabilities[every, labels]
    sums = np.bincount(labels, own, probabilities.shape[1])
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    usual = np.where(
        counts > 0, np.minimum(sums / np.maximum(counts, 1), SURE), np.inf
    )  # confident learning's threshold
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    said = confident.argmax(axis=1)
    there = (confident[every, said] > 0) & (said != labels) & (own <= IMPROBABLE)
    order = sorted(
        np.flatnonzero(there).tolist(), key=lambda place: -ratio(probabilities[place, said[place]], own[place])
    )
    return [
        Doubt(place, int(said[place]), float(probabilities[place, said[place]]), float(own[place])) for place in order
    ]


def ratio(said: float, own: float) -> float:
    """How much more probable what is said is than the label, on a logarithmic scale."""
    return float(np.log(said + 1e-9) - np.log(own + 1e-9))
