"""Weights in bfloat16: kernels, training, prediction, files."""

import itertools
import pickle

import numpy as np
import pytest
from helpers.layers import copied
from helpers.page_end import at_page_end
from ml_dtypes import bfloat16
from scipy.sparse import csr_array
from scipy.stats import binom
from twins import half as reference
from twins.simd import dots

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._core import Trainer
from slide._engine import predict
from slide._engine.model import Model
from slide._network.layer import Layer
from slide._simd import dispatch
from slide.datasets import make_extreme_classification
from slide.inspection import prediction_recall

NAMES = dispatch.available()
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257]
N_FEATURES, N_CLASSES = 37, 70

each_name = pytest.mark.parametrize("name", NAMES)
each_size = pytest.mark.parametrize("n", SIZES)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@pytest.fixture
def base(base):
    return {**base, "micro_batch": 8, "dropout": []}


def halves(values):
    """Values as the bits of bfloat16."""
    return np.asarray(values, np.float32).astype(bfloat16).view(np.uint16)


def misaligned(array):
    """A copy; one more element follows its end, then no memory."""
    return at_page_end(array, 77)


# ---------------------------------------------------------------- kernels --


@each_name
@each_size
def test_unpack(name, n, rng):
    rows = halves(rng.standard_normal((6, n + 1)))
    rows.flags.writeable = False
    for ids in (None, np.array([5, 0, 0, 3], np.int32)):
        n_rows = 6 if ids is None else len(ids)
        out = np.full(n_rows * n, np.nan, np.float32)
        dispatch.unpack(name, misaligned(rows), n + 1, ids, n_rows, n, out)
        expected = reference.unpack(rows, ids)[:, :n]
        np.testing.assert_array_equal(out.reshape(n_rows, n), expected)


@each_name
@each_size
def test_momentum_half_where_float32_is_exact(name, n, rng):
    # Values of few bits: only rounding to bfloat16 changes them, so the twin has the same bits.
    w, m, g = rng.integers(-100, 100, (3, n))
    w, m, g = halves(w / 8), halves(m / 64), (g / 1024).astype(np.float32)
    ours, moment = misaligned(w), misaligned(m)
    dispatch.momentum_half(name, ours, moment, misaligned(g), 0.25, 0.5, 7)
    expected = reference.momentum_half(w, m, g, 0.25, 0.5, 7)
    np.testing.assert_array_equal(ours, expected[0])
    np.testing.assert_array_equal(moment, expected[1])


@each_name
def test_momentum_half_is_right_on_average(name):
    # w - step * m lies three tenths of the way from one half to the next; so does m.
    n = 20_000
    spacing = 2.0**-7
    w, m, g = halves(np.ones(n)), halves(np.ones(n)), np.full(n, 1 + 0.6 * spacing, np.float32)
    ours, moment = w.copy(), m.copy()
    dispatch.momentum_half(name, ours, moment, g, 0.0, 0.5, 3)
    assert (ours == w).all()
    up = (reference.unpack(moment) == 1 + spacing).sum()
    assert up + (reference.unpack(moment) == 1).sum() == n
    assert binom.ppf(1e-6, n, 0.3) <= up <= binom.ppf(1 - 1e-6, n, 0.3)
    ours, moment = w.copy(), halves(np.zeros(n))
    dispatch.momentum_half(name, ours, moment, np.full(n, -2.0, np.float32), 0.3 * spacing, 0.5, 4)
    up = (reference.unpack(ours) == 1 + spacing).sum()
    assert up + (reference.unpack(ours) == 1).sum() == n
    assert binom.ppf(1e-6, n, 0.3) <= up <= binom.ppf(1 - 1e-6, n, 0.3)


@each_name
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_momentum_half_shows_a_gradient_that_is_no_number(name, value):
    w, m, g = halves(np.ones(33)), halves(np.ones(33)), np.ones(33, np.float32)
    g[[0, 20, 32]] = value
    dispatch.momentum_half(name, w, m, g, 0.1, 0.9, 1)
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(reference.unpack(w))), [0, 20, 32])


def test_scalar_rounding_is_that_of_the_kernel(rng):
    values, places = rng.standard_normal(50).astype(np.float32), rng.integers(0, 2**32, 50)
    bits = reference.noise(places)
    rounded = reference.half(values, bits)
    for x, place, noise, half in zip(values, places, bits, rounded, strict=True):
        assert dispatch.noise(place) == noise
        assert dispatch.float_to_half(x, noise) == half
        assert dispatch.half_to_float(half) == reference.unpack(np.array([half]))[0]


# ------------------------------------------------------ products of pairs --

PAIRS = [name for name in NAMES if dispatch.multiplies_bfloat16(name)]
each_with_pairs = pytest.mark.parametrize("name", PAIRS)
EPS = float(np.finfo(np.float32).eps)


def test_the_widest_set_is_the_one_that_may_multiply_bfloat16():
    assert PAIRS in ([], ["avx512"])
    if "avx2" in NAMES:
        with pytest.raises(ValueError, match="avx2 does not multiply bfloat16"):
            dispatch.to_halves("avx2", np.ones((1, 1), np.float32), 1, np.ones((1, 2), np.uint16))


@each_with_pairs
@pytest.mark.parametrize("d", [1, 7, 16, 31, 32, 33, 64, 100])
def test_pair_dots(name, d, rng):
    for n_rows, n_x in [(9, 6), (1, 1), (4, 4), (5, 9)]:
        rows, x = halves(rng.standard_normal((12, d))), halves(rng.standard_normal((n_x, d)))
        bias = rng.standard_normal(12).astype(np.float32)
        for ids in (None, rng.integers(0, 12, n_rows).astype(np.int32)):
            out = np.full(n_x * (n_rows + 2), np.nan, np.float32)
            dispatch.pair_dots(
                name, misaligned(rows), d, ids, bias, n_rows, misaligned(x), d, n_x, d, out,
                n_rows + 2,
            )  # fmt: skip
            chosen = slice(n_rows) if ids is None else ids
            w, v = reference.unpack(rows[chosen]), reference.unpack(x)
            expected = dots(w, v, bias=bias[chosen])
            error = abs(out.reshape(n_x, -1)[:, :n_rows] - expected)
            assert (error <= (d + 4) * EPS * (dots(abs(w), abs(v)) + abs(expected))).all()


@each_with_pairs
@pytest.mark.parametrize("d", [1, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("transposed", [False, True])
def test_pair_accumulate(name, d, transposed, rng):
    for n_out, n_pairs in [(9, 5), (1, 1), (4, 16), (3, 2)]:
        pairs = reference.pair_up(halves(rng.standard_normal((2 * n_pairs, d))))
        coef = halves(rng.standard_normal((2 * n_pairs, n_out)))  # a column per output
        before = rng.standard_normal((n_out, d + 3)).astype(np.float32)
        out, given = before.ravel().copy(), reference.pair_up(coef)
        given = np.ascontiguousarray(given if transposed else given.T)
        strides = (1, n_out) if transposed else (n_pairs, 1)
        dispatch.pair_accumulate(name, given.ravel(), *strides, pairs, out, d + 3, n_out, d)
        out, c, r = out.reshape(n_out, -1), reference.unpack(coef), reference.unpair(pairs)
        expected = before[:, :d] + c.T.astype(float) @ r
        tolerance = 2 * n_pairs * EPS * (abs(c.T) @ abs(r) + abs(before[:, :d]))
        assert (abs(out[:, :d] - expected) <= tolerance).all()
        np.testing.assert_array_equal(out[:, d:], before[:, d:])


@each_with_pairs
@pytest.mark.parametrize("d", [1, 8, 15, 16, 17, 33])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_halves_and_pairs_of_rows(name, d, n, rng):
    x = rng.standard_normal((n, d + 2)).astype(np.float32)
    rounded = reference.nearest_half(x[:, :d])
    np.testing.assert_array_equal(rounded, x[:, :d].astype(bfloat16).view(np.uint16))
    out = np.full((n, d + d % 2), 77, np.uint16)
    dispatch.to_halves(name, x, d, out)
    np.testing.assert_array_equal(out[:, :d], rounded)
    assert (out[:, d:] == 0).all()
    pairs = np.full(((n + 1) // 2, d), 77, np.uint32)
    dispatch.pair_rows(name, x, d, pairs)
    np.testing.assert_array_equal(pairs, reference.pair_up(rounded))
    rows = halves(x)
    for ids in (None, rng.integers(0, n, n).astype(np.int32)):
        dispatch.pair_halves(name, rows, ids, n, d, pairs)
        chosen = rows if ids is None else rows[ids]
        np.testing.assert_array_equal(pairs, reference.pair_up(chosen[:, :d]))


# --------------------------------------------------------------- training --


def rows(sparse):
    """Eight rows of X."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, N_FEATURES)).astype(np.float32)
    return InputRows(csr_array(x * (rng.random(x.shape) < 0.3)) if sparse else x)


def trainer_of(layers, settings, sparse=False):
    """A trainer on these rows, with one or two labels each."""
    model = Model(layers, settings["activation"], settings["loss"])
    indptr = np.array([0, 1, 3, 4, 6, 7, 9, 10, 12], np.int64)
    labels = np.random.default_rng(2).permutation(N_CLASSES)[:12].astype(np.int32)
    return Trainer(model, rows(sparse), indptr, labels, None, settings, 1)


def make_layers(hidden, dtype, n_active=0):
    """Layers whose weights and moments are exact in bfloat16; moments as in a training."""
    rng = np.random.default_rng(0)
    layers, widths = [], [N_FEATURES, *hidden, N_CLASSES]
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        active = n_active if i < len(hidden) else 0
        layer = Layer.zeros(n_in, n_out, i == 0 and not active, active, dtype)
        for array, scale in ((layer.w, n_in**-0.5), (layer.w_m, 0.02)):
            array[:] = (scale * rng.standard_normal(array.shape)).astype(bfloat16)
        layer.w_v[:] = rng.uniform(1e-4, 4e-4, layer.w_v.shape)
        layer.b_v[:] = rng.uniform(1e-4, 4e-4, n_out)
        layer.steps[:] = rng.integers(0, 9, layer.steps.shape)
        layer.rate, layer.bias_rate = 0.5 + i, 0.25 + i
        layers.append(layer)
    return layers


@pytest.mark.parametrize("solver", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_step_is_that_of_float32_but_for_the_rounding(base, loss, sparse, solver):
    settings = {**base, "loss": loss, "solver": solver, "alpha": 0.01, "dropout": [0.0, 0.0]}
    settings |= {"all_neurons": False, "tail_size": 11}
    results = []
    for dtype in (np.float32, bfloat16):
        layers = make_layers((18, 33), dtype)
        trainer = trainer_of(layers, settings, sparse)
        tally = trainer.run(np.arange(8, dtype=np.int32), 3, 0.01)
        results.append((layers, tally["loss"], tally["multiply_adds"]))
    (exact, loss, cost), (rounded, half_loss, half_cost) = results
    # Products of bfloat16 round hidden vectors and gradients to bfloat16 as well.
    rounding = 2.0**-8 if dispatch.multiplies_bfloat16(dispatch.instruction_set()) else 1e-6
    assert half_loss == pytest.approx(loss, rel=rounding) and cost == half_cost
    for one, other in zip(exact, rounded, strict=True):
        np.testing.assert_array_equal(one.steps, other.steps)
        for name in ("b", "b_m", "w_v", "b_v"):
            a, b = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(a, b, rtol=100 * rounding, atol=rounding * abs(a).max())
        for name in ("w", "w_m"):
            a, b = getattr(one, name), getattr(other, name).astype(np.float32)
            # No weight is off by more than the spacing of bfloat16.
            assert (abs(a - b) <= 2.0**-7 * abs(a) + rounding * abs(a).max()).all()
            assert (a != b).any()


def test_other_instruction_sets(rerun_with_simd):
    rerun_with_simd("not other_instruction_sets and not learns_as_well")


def test_steps_much_smaller_than_the_spacing_are_not_lost(base):
    # Rounding to the nearest would leave every weight unchanged.
    layers = make_layers((18,), bfloat16)
    before = copied(layers)
    exact = make_layers((18,), np.float32)
    order = np.arange(8, dtype=np.int32)
    for network in (layers, exact):
        trainer = trainer_of(network, {**base, "dropout": [0.0]})
        for i in range(200):
            trainer.run(order, i, 1e-6)
    for old, new, true in zip(before, layers, exact, strict=True):
        moved = new.w.astype(float) - old.w.astype(float)
        wanted = true.w.astype(float) - old.w.astype(float)
        assert np.corrcoef(moved.ravel(), wanted.ravel())[0, 1] > 0.2
        assert moved.ravel() @ wanted.ravel() / (wanted.ravel() @ wanted.ravel()) == pytest.approx(
            1, abs=0.3
        )


@pytest.mark.parametrize("hidden", [(18,), (18, 33)], ids=str)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_prediction_is_that_of_the_same_weights_in_float32(hidden, sparse):
    results = [
        predict.scores(Model(make_layers(hidden, dtype), "relu", "sigmoid"), rows(sparse), 0, 8, 1)
        for dtype in (np.float32, bfloat16)
    ]
    np.testing.assert_array_equal(*results)


# -------------------------------------------------------------- estimator --


@pytest.fixture(scope="module")
def problem():
    X, Y = make_extreme_classification(3000, 2000, 200, n_labels=2, random_state=0)
    return X[:2500], Y[:2500], X[2500:], Y[2500:]


def test_refuses_other_types(classifier, planted):
    with pytest.raises(ValueError, match=r"weight_dtype must be .*bfloat16.*; got 'float16'"):
        classifier(weight_dtype="float16").fit(*planted)


def test_learns_as_well(problem, network, classifier):
    X, Y, X_test, Y_test = problem
    merits = []
    for dtype in ("float32", "bfloat16"):
        clf = classifier(**network, max_iter=6, weight_dtype=dtype).fit(X, Y)
        labels, _ = clf.predict_topk(X_test, k=1)
        merits.append(np.asarray(Y_test[np.arange(len(labels)), labels[:, 0]]).mean())
    assert merits[1] > merits[0] - 0.03


def test_one_thread_has_the_same_bits_again_and_threads_learn(planted, classifier):
    X, y = planted
    first, second = (classifier(weight_dtype="bfloat16").fit(X, y) for _ in range(2))
    for a, b in zip(first.coefs_, second.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32
    other = classifier(weight_dtype="bfloat16", random_state=1).fit(X, y)
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])
    threaded = classifier(weight_dtype="bfloat16", n_jobs=2, max_iter=20).fit(X, y)
    assert threaded.score(X, y) > 0.9


def test_weights_and_moments_take_half_of_the_memory(planted, classifier):
    sizes = [
        sum(
            layer.w.nbytes + layer.w_m.nbytes
            for layer in classifier(weight_dtype=dtype).fit(*planted)._fitted.network.layers
        )
        for dtype in ("float32", "bfloat16")
    ]
    assert sizes[0] == 2 * sizes[1]


def test_saves_loads_and_goes_on_bit_by_bit(planted, network, classifier, tmp_path):
    X, y = planted
    clf = classifier(**network, weight_dtype="bfloat16")
    clf.partial_fit(X, y, classes=np.unique(y))
    clf.save(tmp_path / "model.safetensors")
    copies = [SparseMLPClassifier.load(tmp_path / "model.safetensors")]
    copies.append(pickle.loads(pickle.dumps(clf)))
    clf.partial_fit(X, y)
    for other in copies:
        other.partial_fit(X, y)
        np.testing.assert_array_equal(other.decision_function(X), clf.decision_function(X))


def test_the_type_stays_while_the_same_network_is_trained_on(planted, classifier):
    X, y = planted
    clf = classifier(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="weight_dtype must stay 'float32'"):
        clf.set_params(weight_dtype="bfloat16").fit(X, y)


def test_lists_lsh_prediction_and_early_stopping():
    X, y = make_extreme_classification(4000, 2000, 20_000, zipf_exponent=0.5, random_state=0)
    clf = SparseMLPClassifier(
        hidden_layer_sizes=(64,), max_iter=4, random_state=0, weight_dtype="bfloat16",
        retrieval="lists", early_stopping=True,
    ).fit(X, y)  # fmt: skip
    assert len(clf.validation_scores_) == 4
    recalls = prediction_recall(clf, X[:200], k=1)
    assert np.mean(recalls) > 0.8
