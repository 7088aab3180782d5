"""The weights of prototypes and SVMs: found where they help, and not without evidence."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from slide._prediction import lookup
from slide._training import stacking, weighing
from slide._training.weighing import Candidates, best_weight, best_weights
from slide.datasets import make_extreme_classification


def candidates(scores, cosines=None, margins=None, right=None):
    parts = [np.zeros_like(scores) if part is None else part for part in (cosines, margins)]
    return Candidates(scores, *parts, right)


class Judges:
    def __init__(self, n, weights=None):
        self.n, self.weights = n, weights

    def __len__(self):
        return self.n


@pytest.fixture
def noise():
    """Scores without meaning, scores that are right but for noise, and what is right."""
    rng = np.random.default_rng(8)
    right = np.zeros((400, 20), bool)
    right[np.arange(400), rng.integers(20, size=400)] = True
    signal = (right + 0.1 * rng.standard_normal(right.shape)).astype(np.float32)
    return rng.random(right.shape).astype(np.float32), signal, right


def test_the_best_weight_is_found(noise):
    """Scores are noise and cosines or margins are right, or the other way round."""
    noise, signal, right = noise
    assert best_weight(candidates(noise, signal, right=right), Judges(400), 1) > 0
    assert best_weight(candidates(signal, noise, right=right), Judges(400), 2) == 0
    assert best_weights(candidates(noise, margins=signal, right=right), Judges(400), 3.0, 2)[1] > 0
    # If margins do not help, the weight of the cosine is the one that was given.
    found = candidates(signal, margins=noise, right=right)
    assert best_weights(found, Judges(400), 3.0, 1) == (3, 0)


def test_no_weight_without_evidence():
    """A gain on one row of many may be chance, and gives no weight."""
    right = np.zeros((200, 6), bool)
    right[:, 0] = True
    scores = np.tile(np.arange(6, 0, -1, dtype=np.float32), (200, 1))
    others = np.zeros((200, 6), np.float32)
    scores[0, 0], others[0, 0] = -1.0, 1.0

    def svm_weight(found, judges, n_threads):
        return best_weights(found, judges, 0.0, n_threads)[1]

    for at, find in (("cosines", best_weight), ("margins", svm_weight)):
        found = candidates(scores, right=right, **{at: others})
        weights = (64, 0) if at == "cosines" else (0, 16)
        assert (found.merits(*weights) - found.merits(0, 0)).sum() > 0
        assert find(found, Judges(200), 1) == 0
        # A gain on many rows is evidence, unless their weights are 0.
        many, more = scores.copy(), others.copy()
        many[:100, 0], more[:100, 0] = -1.0, 1.0
        found = candidates(many, right=right, **{at: more})
        assert find(found, Judges(200), 1) > 0
        few = np.where(np.arange(200) < 100, 0, 1).astype(np.float32)
        assert find(found, Judges(200, few), 1) == 0


def test_merits_are_mean_precisions():
    scores = np.array([[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]], np.float32)
    right = np.array([[True, False, True, False, False, True], [False] * 6])
    found = candidates(scores, right=right)
    assert_allclose(found.merits(0, 0), [(1 + 2 / 3 + 2 / 5) / 3, 0])


def test_few_rows_decide_nothing(noise):
    noise, signal, right = noise
    few = candidates(noise[:9], signal[:9], right=right[:9])
    assert best_weight(few, Judges(9), 1) == 0


def test_a_label_counts_once():
    labels = np.array([[3, 1, 3, 2, 1, 3], [1, 2, 3, 4, 5, 6]], np.int32)
    expected = [[False, False, True, False, True, True], [False] * 6]
    assert_array_equal(weighing._repeated(labels), expected)


@pytest.fixture(scope="module")
def rare():
    """Three rows per label: too many labels for the hidden layer of a small network."""
    return make_extreme_classification(3000, 3000, 1000, n_nonzero=20, random_state=0)


def test_candidates_have_the_parts_of_the_scores(classifier, rare, monkeypatch):
    """Network, cosine and margin of a candidate add up to the score that the network then gives."""
    X, y = rare
    find, checked = stacking.find_candidates, []

    def check(network, made, svms, judges, n_threads):
        found = find(network, made, svms, judges, n_threads)
        assert network.prototypes is None
        for weight, svm_weight in ((0.0, 0.0), (8.0, 0.0), *([(8.0, 2.0)] if svms else [])):
            parts = made.of_weight(weight)
            network.set_prototypes(parts.with_svms(svms, svm_weight) if svms else parts)
            _, best = lookup.topk(network, network.rows(judges.x), 1, 1)
            total = found.scores + weight * found.cosines + svm_weight * found.margins
            # The best label of all is among the candidates of nearly every row.
            assert np.mean(np.abs(total.max(axis=1) - best[:, 0]) < 1e-4) > 0.98
            checked.append(svm_weight)
        network.set_prototypes(None)
        return found

    monkeypatch.setattr(stacking, "find_candidates", check)
    classifier(max_iter=4).fit(X, y)
    assert checked == [0, 0, 0, 0, 2]


def test_short_lists_hold_the_candidates(classifier, rare, monkeypatch):
    """Labels of the judging rows come from short lists where these pay, and few are missed."""
    X, y = rare
    found, find = [], stacking.find_candidates

    def both(network, *args):
        found.append(find(network, *args))
        with monkeypatch.context() as patch:
            patch.setattr(lookup, "pays", lambda network, n_candidates: True)
            found.append(find(network, *args))
        assert network.prototypes is None
        return found[-2]

    monkeypatch.setattr(stacking, "find_candidates", both)
    classifier(max_iter=4).fit(X, y)
    assert len(found) == 4
    for exact, listed in (found[:2], found[2:]):
        merits = [
            [one.merits(weight, 0.0).mean() for weight in weighing._WEIGHTS]
            for one in (exact, listed)
        ]
        assert_allclose(merits[1], merits[0], atol=0.015)
