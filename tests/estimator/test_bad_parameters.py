"""Bad parameters: `fit` accepts a value, or raises a ValueError that names the parameter."""

import numpy as np
import pytest
from helpers.small_problem import X, Y, assert_unfitted, classifier

from slide import SparseMLPClassifier

RETRIEVALS = " or ".join(
    map(
        repr,
        "auto estimate scan vanilla topk threshold rerank exact none".split(),
    )
)
BAD_PARAMS = [
    ("hidden_layer_sizes", (), "an int or a sequence of at least one int"),
    ("hidden_layer_sizes", 0, "an int or a sequence of at least one int"),
    ("hidden_layer_sizes", (8, -1), "an int or a sequence of at least one int"),
    ("hidden_layer_sizes", (8.0,), "an int or a sequence of at least one int"),
    ("hidden_layer_sizes", "wide", "an int or a sequence of at least one int"),
    ("hidden_layer_sizes", None, "an int or a sequence of at least one int"),
    ("activation", "gelu", "'identity' or 'logistic' or 'tanh' or 'relu'"),
    ("activation", None, "'identity' or 'logistic' or 'tanh' or 'relu'"),
    ("loss", "hinge", "'auto' or 'softmax' or 'sigmoid'"),
    ("active_fraction", 0.0, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", -0.5, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", 1.5, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", np.nan, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", True, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", None, "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (1.0, "all"), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", ((1.0, 0.5),), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", "some", "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (1.0, 0.0), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (1.0, 1.5), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (1.0, np.nan), "'auto' or a number in (0, 1] or a sequence of them"),
    ("active_fraction", (0.5,), "one number a layer"),
    ("active_fraction", (0.5, 0.5, 0.5), "one number a layer"),
    ("active_fraction", (1.0,), "one number a layer"),
    ("active_fraction", (1.0, 1.0, 0.5), "one number a layer"),
    ("hash_family", "lsh", "'auto' or 'simhash' or 'wta' or 'dwta' or 'minhash'"),
    ("hash_family", "SimHash", "'auto' or 'simhash' or 'wta' or 'dwta' or 'minhash'"),
    ("hash_family", "none", "'auto' or 'simhash' or 'wta' or 'dwta' or 'minhash'"),
    ("hash_family", None, "'auto' or 'simhash' or 'wta' or 'dwta' or 'minhash'"),
    ("hash_family", 0, "'auto' or 'simhash' or 'wta' or 'dwta' or 'minhash'"),
    ("n_tables", 0, "'auto' or an int in [1, 255]"),
    ("n_tables", 256, "'auto' or an int in [1, 255]"),
    ("n_tables", 2.0, "'auto' or an int in [1, 255]"),
    ("n_hash_bits", 17, "'auto' or an int in [1, 16]"),
    ("n_hash_bits", -1, "'auto' or an int in [1, 16]"),
    ("retrieval", "random", RETRIEVALS),
    ("retrieval", "TopK", RETRIEVALS),
    ("retrieval", True, RETRIEVALS),
    ("retrieval", None, RETRIEVALS),
    ("tail_size", -1, "'auto' or an int in [0, "),
    ("tail_size", 2**31, "'auto' or an int in [0, "),
    ("rehash_every", 0, "'auto' or an int in [1, "),
    ("solver", "lbfgs", "'adam' or 'sgd' or 'adagrad'"),
    ("solver", "Adam", "'adam' or 'sgd' or 'adagrad'"),
    ("solver", None, "'adam' or 'sgd' or 'adagrad'"),
    ("alpha", -1e-9, "a number in [0, inf)"),
    ("alpha", np.nan, "a number in [0, inf)"),
    ("alpha", np.inf, "a number in [0, inf)"),
    ("alpha", "auto", "a number in [0, inf)"),
    ("alpha", None, "a number in [0, inf)"),
    ("alpha", False, "a number in [0, inf)"),
    ("dropout", 1.0, "'auto' or a number in [0, 1)"),
    ("dropout", -0.1, "'auto' or a number in [0, 1)"),
    ("dropout", np.nan, "'auto' or a number in [0, 1)"),
    ("batch_size", 0, "'auto' or an int in [1, "),
    ("batch_size", True, "'auto' or an int in [1, "),
    ("learning_rate", "adaptive", "'constant' or 'linear'"),
    ("learning_rate_init", 0.0, "a number in (0, inf)"),
    ("learning_rate_init", np.inf, "a number in (0, inf)"),
    ("learning_rate_init", "auto", "a number in (0, inf)"),
    ("momentum", 1.0, "a number in [0, 1)"),
    ("momentum", -0.1, "a number in [0, 1)"),
    ("momentum", np.nan, "a number in [0, 1)"),
    ("momentum", "auto", "a number in [0, 1)"),
    ("momentum", None, "a number in [0, 1)"),
    ("beta_1", 1.0, "a number in [0, 1)"),
    ("beta_2", -0.5, "a number in [0, 1)"),
    ("epsilon", 0, "a number in (0, inf)"),
    ("max_iter", 0, "'auto' or an int in [1, "),
    ("max_iter", 1.5, "'auto' or an int in [1, "),
    ("shuffle", "yes", "True or False"),
    ("tol", -1e-4, "a number in [0, inf)"),
    ("tol", None, "a number in [0, inf)"),
    ("n_iter_no_change", 0, "an int in [1, "),
    ("early_stopping", 1, "True or False"),
    ("validation_fraction", 0.0, "a number in (0, 1)"),
    ("validation_fraction", 1.0, "a number in (0, 1)"),
    ("warm_start", None, "True or False"),
    ("random_state", -1, "None, an int in [0, 4294967295] or a RandomState"),
    ("random_state", "seed", "None, an int in [0, 4294967295] or a RandomState"),
    ("n_jobs", 0, "None or an int other than 0"),
    ("n_jobs", 1.5, "None or an int other than 0"),
    ("predict_mode", "fast", "'exact' or 'lsh'"),
    ("verbose", -1, "True or False or an int in [0, "),
]


@pytest.mark.parametrize(("name", "value", "takes"), BAD_PARAMS)
def test_bad_parameter(name, value, takes):
    clf = classifier(**{name: value})
    with pytest.raises(ValueError) as caught:
        clf.fit(X, Y)
    message = str(caught.value)
    assert name in message and takes in message and str(value) in message
    assert_unfitted(clf)
    with pytest.raises(ValueError, match=name):
        clf.partial_fit(X, Y, classes=[0, 1, 2])
    assert_unfitted(clf)


def test_unknown_parameter():
    with pytest.raises(TypeError, match="power_t"):
        SparseMLPClassifier(power_t=0.5)


@pytest.mark.parametrize("family", ["wta", "dwta", "minhash"])
def test_estimates_are_made_of_simhash_codes(family):
    clf = classifier(retrieval="estimate", hash_family=family)
    message = f"hash_family must be 'auto' or 'simhash' with retrieval='estimate'.*{family}"
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(X, Y, classes=[0, 1, 2])
    assert_unfitted(clf)


@pytest.mark.parametrize(
    "params",
    [
        {"epsilon": 1e-50},
        {"beta_1": 1 - 1e-9},
        {"beta_2": 1 - 1e-9},
        {"dropout": 1 - 1e-9},
        {"learning_rate_init": 10**400},
        {"tol": 10**400},
        {"hidden_layer_sizes": np.array(5)},
        {"momentum": 1 - 1e-9},
        {"alpha": 1e39},
        {"alpha": 10**400},
        {"active_fraction": 10**400},
        {"active_fraction": np.array(0.5)},
    ],
)
def test_parameters_beyond_float32_or_without_length(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        classifier(**params).fit(X, Y)


@pytest.mark.parametrize(
    "retrieval", ["estimate", "vanilla", "topk", "threshold", "rerank", "exact"]
)
@pytest.mark.parametrize("active_fraction", [1, 1.0, (1.0, 1.0)])
def test_retrieval_where_every_neuron_is_computed(retrieval, active_fraction):
    clf = classifier(retrieval=retrieval, active_fraction=active_fraction)
    with pytest.raises(ValueError, match=f"retrieval='{retrieval}' has nothing to choose"):
        clf.fit(X, Y)
    assert_unfitted(clf)
