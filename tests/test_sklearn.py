"""scikit-learn's own checks, for every kind of network that parameters can make."""

from inspect import signature

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from slide import SparseMLPClassifier

# Weighting a row by w and repeating it w times differ for every estimator that learns from
# samples in a random order; scikit-learn expects the same of its own SGD and MLP classifiers.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "samples come in a random order",
    "check_sample_weight_equivalence_on_sparse_data": "samples come in a random order",
}


# Some instances pass these checks, which scikit-learn 1.8 may be told.
NOT_STRICT = (
    {"xfail_strict": False}
    if "xfail_strict" in signature(parametrize_with_checks).parameters
    else {}
)


def classifier(**params):
    defaults = {"max_iter": 30, "n_iter_no_change": 5, "random_state": 0}
    return SparseMLPClassifier(**{**defaults, **params})


# An output of two or three classes that is sampled and hashed like a wide one.
SAMPLED = {
    "active_fraction": (1.0, 0.5),
    "retrieval": "rerank",
    "n_tables": 4,
    "n_hash_bits": 2,
    "rehash_every": 50,
}

# Hidden layers in which a sample computes some neurons, found by hashing.
SPARSE = {"active_fraction": (0.5, 1.0), "n_tables": 4, "n_hash_bits": 2, "rehash_every": 50}
DEEP_SPARSE = {
    "hidden_layer_sizes": (32, 16),
    "active_fraction": (0.25, 0.5, 1.0),
    "rehash_every": 50,
}

# scikit-learn wants two fits to agree, also with two threads.
TWO_THREADS = {"n_jobs": 2}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@parametrize_with_checks(
    [
        classifier(),
        classifier(hidden_layer_sizes=(4,), loss="softmax"),
        classifier(hidden_layer_sizes=(512,), loss="sigmoid"),
        classifier(hidden_layer_sizes=(32, 16), activation="tanh"),
        classifier(**SAMPLED),
        classifier(loss="sigmoid", **SAMPLED),
        classifier(**DEEP_SPARSE),
        classifier(**DEEP_SPARSE, retrieval="estimate"),
        classifier(hidden_layer_sizes=(16,), hash_family="wta", retrieval="topk", **SPARSE),
        classifier(hidden_layer_sizes=(16,), hash_family="dwta", retrieval="vanilla", **SPARSE),
        classifier(hidden_layer_sizes=(16,), hash_family="minhash", retrieval="rerank", **SPARSE),
        classifier(hidden_layer_sizes=(32,), solver="sgd"),
        classifier(hidden_layer_sizes=(32,), solver="adagrad", alpha=1e-4),
        classifier(**TWO_THREADS),
        classifier(hidden_layer_sizes=(512,), loss="softmax", **TWO_THREADS, **SAMPLED),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    **NOT_STRICT,
)
def test_scikit_learn(estimator, check):
    check(estimator)
