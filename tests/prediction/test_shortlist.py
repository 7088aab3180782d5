"""Prediction by short lists: scan, estimates, recall, and that rows do not affect each other."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from twins import shortlist as reference

from slide import SparseMLPClassifier
from slide._base.rows import InputRows
from slide._engine import predict
from slide._engine.model import Model
from slide._network.layer import Layer
from slide._prediction import lookup
from slide._prediction.shortlist import Shortlist, coarse
from slide._simd import dispatch
from slide.datasets import make_extreme_classification
from slide.inspection import prediction_recall

N_CLASSES = 20_000


@pytest.fixture(scope="module")
def data():
    return make_extreme_classification(1500, 1000, N_CLASSES, n_labels=3, random_state=0)


@pytest.fixture(scope="module")
def trained(data):
    return SparseMLPClassifier((64,), max_iter=2, random_state=0).fit(*data)


@pytest.fixture
def model(trained):
    """A copy in the mode "lsh", which has not made its short list yet."""
    return copy.deepcopy(trained).set_params(predict_mode="lsh")


# ------------------------------------------------------------------- kernel --


def scan(name, codes, lut, scale, bias, threshold, step=0.5, low=-3.0, sift=True):
    """Run the kernel on codes (n, n_bytes) in its memory layout; returns ids and estimates."""
    n, n_bytes = codes.shape
    blocks = -(-n // 64)
    padded = np.zeros((blocks * 64, n_bytes), np.uint8)
    padded[:n] = codes
    laid = np.ascontiguousarray(padded.reshape(blocks, 64, n_bytes).transpose(0, 2, 1))
    rest = np.zeros(blocks * 64 - n, np.float32)
    arrays = [np.append(a, rest).astype(np.float32) for a in (scale, bias)]
    sieve, units = coarse(*arrays, n)
    rest[:] = np.nan
    arrays = [np.append(a, rest).astype(np.float32) for a in (scale, bias)]
    for array in (laid, *arrays):
        array.flags.writeable = False
    ids, z = np.full(n + 1, -1, np.int32), np.full(n + 1, -1, np.float32)
    m = dispatch.shortlist(
        name, laid, *arrays, sieve if sift else None, units, 0, n, lut.ravel(), step, low,
        threshold, ids, z,
    )  # fmt: skip
    assert (ids[m:] == -1).all() and (z[m:] == -1).all()
    return ids[:m], z[:m]


def scan_problem(name, n, bits, seed=0):
    rng, entry_bits = np.random.default_rng(seed), dispatch.entry_bits(name)
    n_bytes = bits // 8 if entry_bits == 4 else -(-bits // 6)
    codes = rng.integers(0, 256 if entry_bits == 4 else 64, (n, n_bytes), np.uint8)
    n_entries = n_bytes * (2 if entry_bits == 4 else 1)
    lut = rng.integers(0, 24, (n_entries, 1 << entry_bits), np.uint8)
    lut[:, -1] = 23  # as large as sums can be
    codes[: n // 8] = 255 if entry_bits == 4 else 63
    scale, bias = rng.exponential(size=n), 50 * rng.standard_normal(n)
    return codes, lut, scale.astype(np.float32), bias.astype(np.float32)


@pytest.mark.parametrize("name", dispatch.available())
@pytest.mark.parametrize("bits", [64, 128, 256, 512, 1024])
@pytest.mark.parametrize("n", [1, 7, 63, 64, 65, 127, 128, 200, 255, 257, 400])
def test_the_scan_is_its_twin(name, bits, n):
    codes, lut, scale, bias = scan_problem(name, n, bits)
    low = -12.0 * len(lut) / 2
    expected = reference.shortlist(codes, dispatch.entry_bits(name), lut, 0.5, low, scale, bias)
    ids, z = scan(name, codes, lut, scale, bias, -np.inf, low=low)
    assert ids.tolist() == list(range(n))
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-2)
    for threshold in np.sort(z)[[0, n // 2, n - 1 - n // 10, n - 1]]:
        for sift in (False, True):
            ids, some = scan(name, codes, lut, scale, bias, threshold, low=low, sift=sift)
            assert ids.tolist() == np.flatnonzero(z >= threshold).tolist()
            np.testing.assert_array_equal(some, z[z >= threshold])


@pytest.mark.parametrize("name", dispatch.available())
@pytest.mark.parametrize("sizes", [(1e-3, 1), (1, 1e-6), (1, 1e6), (1e20, 1), (1e-20, 1e-20)])
def test_the_sieve_holds_nothing_back(name, sizes):
    rng = np.random.default_rng(1)
    codes, lut, scale, bias = scan_problem(name, 3000, 128)
    scale = (sizes[0] * rng.exponential(size=3000) ** 4).astype(np.float32)
    bias = (sizes[1] * rng.standard_normal(3000)).astype(np.float32)
    every = scan(name, codes, lut, scale, bias, -np.inf, 0.01, -2.5)[1]
    for threshold in np.quantile(every, [0.1, 0.5, 0.9, 0.99, 0.999]).astype(np.float32):
        ids, _ = scan(name, codes, lut, scale, bias, threshold, 0.01, -2.5)
        assert ids.tolist() == np.flatnonzero(every >= threshold).tolist()


@pytest.mark.parametrize("name", dispatch.available())
def test_the_scan_lists_what_is_no_number(name):
    codes, lut, scale, bias = scan_problem(name, 150, 128)
    assert len(scan(name, codes, lut, scale, bias, -np.inf, low=np.nan)[0]) == 150
    assert len(scan(name, codes, lut, scale, bias, np.float32(1e30), low=np.nan)[0]) == 150
    bias[[3, 149]] = np.nan
    assert scan(name, codes, lut, scale, bias, np.inf)[0].tolist() == [3, 149]


# ---------------------------------------------------------------- estimates --


def layer_problem(n_neurons, width, seed=0, spread=0.3):
    """Weights, biases and hidden vectors; these are non-negative, so their mean is not zero."""
    rng = np.random.default_rng(seed)
    w = (rng.standard_normal((n_neurons, width)) + rng.standard_normal(width)).astype(np.float32)
    w *= np.exp(spread * rng.standard_normal((n_neurons, 1))).astype(np.float32)
    b = rng.standard_normal(n_neurons).astype(np.float32)
    return w, b, rng.exponential(size=(200, width)).astype(np.float32)


@pytest.mark.parametrize("width", [1, 5, 64, 100, 128, 300, 1024])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_estimates_are_the_twins(width, n_threads):
    w, b, h = layer_problem(300, width)
    mean = h.mean(axis=0)
    shortlist = Shortlist(w, b, mean, 8.0, np.random.RandomState(1), n_threads)
    expected, step = reference.estimates(shortlist.hasher, w, b, mean, h[0])
    # An entry is rounded by half a step; a step is 1 / 23 of twice the sum of six projections.
    n_entries = max(64, 1 << (width - 1).bit_length()) / 4 + 1
    assert (abs(shortlist.estimates(h[0]) - expected) < step * n_entries * 6 / 23 + 1e-3).all()


def test_estimates_are_unbiased_with_the_error_of_one_bit():
    # Unit vectors at cosine c have the variance (1 - c^2) (pi / 2 - 1) / (d - 1) (Gao & Long).
    w, b, h = layer_problem(400, 64, spread=0.0)
    mean, z = h.mean(axis=0), []
    true = (w - w.mean(axis=0)).astype(float) @ (h[0] - mean)
    for seed in range(200):
        shortlist = Shortlist(w, b * 0, mean, 8.0, np.random.RandomState(seed), 1)
        z.append(shortlist.estimates(h[0]) - (w - w.mean(axis=0)) @ mean)
    lengths = np.linalg.norm(w - w.mean(axis=0), axis=1) * np.linalg.norm(h[0] - mean)
    error = (np.array(z) - true) / lengths
    deviation = np.sqrt((1 - (true / lengths) ** 2) * (np.pi / 2 - 1) / 63)
    assert abs(error.mean()) < 0.002
    # Rounding to steps adds some hundredths.
    np.testing.assert_allclose(error.std(axis=0) / deviation, 1.05, atol=0.25)
    assert np.isclose((error.std(axis=0) / deviation).mean(), 1.03, atol=0.05)


# ------------------------------------------------------------------- top k --


def as_model(w, b, width):
    """A model whose hidden layer passes X on unchanged."""
    hidden, output = Layer.zeros(width, width, True), Layer.zeros(width, len(w), False)
    hidden.w[...], output.w[...], output.b[...] = np.eye(width), w, b
    return Model([hidden, output], "identity", "sigmoid")


@pytest.mark.parametrize("width", [5, 64, 100])
def test_recall_and_exact_scores(width):
    w, b, h = layer_problem(30_000, width)
    model, rows = as_model(w, b, width), InputRows(h)
    shortlist = Shortlist(w, b, h.mean(axis=0), 8.0, np.random.RandomState(0), 1)
    best, best_scores = predict.topk(model, rows, 5, 1)
    recalls = []
    for n_candidates in (50, 300, 3000):
        ids, scores = shortlist.topk(model, rows, 0, 200, 5, n_candidates, 1)
        assert (np.diff(scores) <= 0).all()
        all_scores = predict.scores(model, rows, 0, 200, 1)
        np.testing.assert_array_equal(np.take_along_axis(all_scores, ids, 1), scores)
        recalls.append(np.mean([np.isin(a, o).mean() for a, o in zip(ids, best, strict=True)]))
    assert recalls[0] <= recalls[1] <= recalls[2] > 0.99, recalls
    assert recalls[1] > 0.9
    every, every_scores = shortlist.topk(model, rows, 0, 200, 5, 30_000, 1)
    np.testing.assert_array_equal(every, best)
    np.testing.assert_array_equal(every_scores, best_scores)


def test_faint_neurons_come_last_and_are_found_where_they_matter():
    w, b, h = layer_problem(40_000, 64)
    w[::2] *= np.float32(0.02)
    w[::2] += w[1::2].mean(axis=0)
    b[::2] -= 60
    best_of_all = 12_344
    b[best_of_all] = 1e4
    model, rows, mean = as_model(w, b, 64), InputRows(h), h.mean(axis=0)
    length = np.sqrt(((h - mean) ** 2).sum(axis=1).mean())
    shortlist = Shortlist(w, b, mean, length, np.random.RandomState(0), 1)
    assert 19_000 < shortlist.n_strong < 20_100
    assert (shortlist.neuron_at[: shortlist.n_strong] % 2 == 1).mean() > 0.99
    ids, _ = shortlist.topk(model, rows, 0, 200, 5, 300, 1)
    assert (ids[:, 0] == best_of_all).all()
    best, _ = predict.topk(model, rows, 5, 1)
    assert np.mean([np.isin(a, o).mean() for a, o in zip(ids, best, strict=True)]) > 0.9


def test_centring_by_the_mean_hidden_vector_finds_more():
    w, b, h = layer_problem(30_000, 64)
    model, rows = as_model(w, b, 64), InputRows(h)
    best, _ = predict.topk(model, rows, 1, 1)
    hits = []
    for mean in (h.mean(axis=0), np.zeros(64, np.float32)):
        shortlist = Shortlist(w, b, mean, 8.0, np.random.RandomState(0), 1)
        hits.append((shortlist.topk(model, rows, 0, 200, 1, 30, 1)[0] == best).mean())
    assert hits[0] > hits[1] + 0.05


@pytest.mark.parametrize("n_neurons", [1, 63, 1023, 1025, 8193, 17_000])
@pytest.mark.parametrize("kind", ["zero", "equal", "one", "nan", "inf", "few rows"])
def test_k_distinct_neurons_whatever_comes(n_neurons, kind):
    width = 3
    w, b, h = layer_problem(n_neurons, width)
    h = h[:3] if kind == "few rows" else h[:40]
    if kind in ("zero", "equal"):
        w[...], b[...] = (0, 0) if kind == "zero" else (1, 2)
    elif kind == "one":
        w[1:] = 0
    elif kind != "few rows":
        h[::3] = float(kind)
    model, rows = as_model(w, b, width), InputRows(h)
    shortlist = Shortlist(w, b, np.ones(width, np.float32), 1.0, np.random.RandomState(0), 1)
    for k in sorted({1, min(5, n_neurons), min(300, n_neurons)}):
        for n_candidates in sorted({k, min(2 * k, n_neurons), n_neurons}):
            ids, _ = shortlist.topk(model, rows, 0, len(h), k, n_candidates, 2)
            assert ids.min() >= 0 and ids.max() < n_neurons
            assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all()


def test_k_neurons_where_those_seen_first_promised_far_too_much():
    # They set the threshold, which no other neuron then reaches.
    w, b, h = layer_problem(8000, 64)
    mean, n_first, k = h.mean(axis=0), 1024, 500
    order = Shortlist(w, b, mean, 8.0, np.random.RandomState(0), 1).neuron_at
    b[order[:n_first]] += 500
    model, rows = as_model(w, b, 64), InputRows(h)
    shortlist = Shortlist(w, b, mean, 8.0, np.random.RandomState(0), 1)
    np.testing.assert_array_equal(shortlist.neuron_at, order)
    ids, scores = shortlist.topk(model, rows, 0, len(h), k, k, 1)
    assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all() and (np.diff(scores) <= 0).all()
    all_scores = predict.scores(model, rows, 0, len(h), 1)
    np.testing.assert_array_equal(np.take_along_axis(all_scores, ids, 1), scores)
    assert np.isin(ids, order[:n_first]).all()
    best, _ = predict.topk(model, rows, 5, 1)
    assert np.mean([np.isin(a, o).mean() for a, o in zip(best, ids, strict=True)]) > 0.9


def test_a_row_depends_on_itself_alone(model, data):
    x, labels, scores = data[0][:150], *model.predict_topk(data[0][:150], 3)
    model.set_params(n_jobs=3)
    for rows in (np.arange(150), np.arange(150)[::-1], [77], [3, 3, 140]):
        some_labels, some_scores = model.predict_topk(x[rows], 3)
        np.testing.assert_array_equal(some_labels, labels[rows])
        np.testing.assert_array_equal(some_scores, scores[rows])


@pytest.mark.parametrize("k", [0, 6])
def test_sizes_that_do_not_fit_are_refused(k):
    w, b, h = layer_problem(40, 3)
    shortlist = Shortlist(w, b, h[0], 1.0, np.random.RandomState(0), 1)
    with pytest.raises(ValueError, match="n_candidates <= 40 must hold; got"):
        shortlist.topk(as_model(w, b, 3), InputRows(h), 0, 200, k, 5 if k else 41, 1)


def test_every_instruction_set(rerun_with_simd):
    rerun_with_simd("estimates or recall or whatever")


# ---------------------------------------------------------------- estimator --


def test_lists_find_what_exact_prediction_finds(model, data):
    X = data[0]
    assert prediction_recall(model, X[:300], 1) > 0.97
    few = prediction_recall(model, X[:300], 5, n_candidates=20)
    assert few < prediction_recall(model, X[:300], 5) > 0.9
    predicted = model.predict(X[:300])
    labels, scores = model.predict_topk(X[:300], 5)
    exact = model.set_params(predict_mode="exact")
    assert abs(predicted - exact.predict(X[:300])).sum() <= 0.02 * predicted.sum()
    # Prototypes are added in another order.
    np.testing.assert_allclose(
        np.take_along_axis(exact.decision_function(X[:300]), labels, 1), scores, 1e-5, 1e-5
    )


def test_decision_function_and_probabilities_stay_exact(model, trained, data):
    x = data[0][:20]
    np.testing.assert_array_equal(model.decision_function(x), trained.decision_function(x))
    np.testing.assert_array_equal(model.predict_proba(x), trained.predict_proba(x))


def test_single_labels():
    X, y = make_extreme_classification(20_000, 1000, 200_000, zipf_exponent=0, random_state=0)
    clf = SparseMLPClassifier((64,), max_iter=1, predict_mode="lsh", random_state=0).fit(X, y)
    assert clf.n_outputs_ > 16_384
    predicted = clf.predict(X[:200])
    assert clf._fitted.network.derived.get("shortlist") is not None
    np.testing.assert_array_equal(predicted, clf.predict_topk(X[:200], 1)[0][:, 0])
    exact = clf.set_params(predict_mode="exact").predict(X[:200])
    assert (predicted == exact).mean() > 0.9


def test_a_list_lives_from_its_first_use_to_the_next_training(model, data):
    X, Y = data
    network = model._fitted.network
    model.predict_proba(X[:5])
    assert network.derived.get("shortlist") is None
    model.predict_topk(X[:5])
    shortlist = network.derived.get("shortlist")
    model.predict(X[:5])
    assert network.derived.get("shortlist") is shortlist
    assert shortlist.nbytes < 0.6 * model.coefs_[-1].nbytes
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin._fitted.network.derived.get("shortlist") is None
        for ours, theirs in zip(model.predict_topk(X[:50]), twin.predict_topk(X[:50]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    model.partial_fit(X[:100], Y[:100])
    assert network.derived.get("shortlist") is None
    assert prediction_recall(model, X[:300], 1) > 0.97


def test_saved_and_loaded(model, data, tmp_path):
    model.predict_topk(data[0][:5])
    model.save(tmp_path / "model")
    twin = SparseMLPClassifier.load(tmp_path / "model")
    assert twin.predict_mode == "lsh" and twin._fitted.network.derived.get("shortlist") is None
    for ours, theirs in zip(
        model.predict_topk(data[0][:50]), twin.predict_topk(data[0][:50]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_threads_of_python_share_one_list(model, data):
    x = data[0][:60]
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(
                lambda _: (model.predict_topk(x), model._fitted.network.derived.get("shortlist")),
                "1234",
            )
        )
    assert len({id(shortlist) for _, shortlist in results}) == 1
    for (labels, scores), _ in results:
        np.testing.assert_array_equal(labels, results[0][0][0])
        np.testing.assert_array_equal(scores, results[0][0][1])


def test_few_classes_and_sparse_hidden_layers_are_exact(data):
    X, y = make_extreme_classification(300, 200, 30, random_state=0)
    clf = SparseMLPClassifier((16,), max_iter=1, predict_mode="lsh", random_state=0).fit(X, y)
    assert prediction_recall(clf, X, 3, n_candidates=3) == 1
    assert clf._fitted.network.derived.get("shortlist") is None
    X, Y = data
    sparse = SparseMLPClassifier(
        (256,), active_fraction=(0.1, 1.0), max_iter=1, predict_mode="lsh", random_state=0
    ).fit(X[:200], Y[:200])
    sparse.predict_topk(X[:5])
    assert sparse._fitted.network.derived.get("shortlist") is None
    assert not lookup.pays(sparse._fitted.network, 5)
    narrow = SparseMLPClassifier((32,), max_iter=1, random_state=0).fit(X[:200], Y[:200])
    assert not lookup.pays(narrow._fitted.network, 5)


def test_the_mean_hidden_vector_is_that_of_the_trained_network(trained, data):
    network = trained._fitted.network
    rows = InputRows(data[0])
    hidden = predict.hidden(network.model(), rows, 0, rows.n_rows, 1)
    error = np.linalg.norm(network.input_stats[-1][0] - hidden.mean(axis=0))
    assert error < 3 * np.linalg.norm(hidden.std(axis=0)) / np.sqrt(256)


@pytest.mark.parametrize("size", [100, 15])
def test_batches_move_the_mean(data, size):
    X, Y = data
    clf = SparseMLPClassifier((64,), random_state=0)
    for start in range(0, 1500, size):
        clf.partial_fit(X[start : start + size], Y[start : start + size])
    network = clf._fitted.network
    hidden = predict.hidden(network.model(), network.rows(network.inputs(X)), 0, 1500, 1)
    error = np.linalg.norm(network.input_stats[-1][0] - hidden.mean(axis=0))
    assert error < 0.5 * np.linalg.norm(hidden.std(axis=0))


@pytest.mark.parametrize("mode", ["fast", None, 1])
def test_a_wrong_mode_is_refused_by_what_predicts(model, data, mode):
    model.set_params(predict_mode=mode)
    for method in (model.predict, model.predict_topk):
        with pytest.raises(ValueError, match="predict_mode must be 'exact' or 'lsh'; got"):
            method(data[0][:5])
    model.decision_function(data[0][:5])


@pytest.mark.parametrize("n_candidates", [4, 0, -1, 5.0, None, True, "all"])
def test_wrong_numbers_of_candidates_are_refused(model, data, n_candidates):
    with pytest.raises(ValueError, match=r"n_candidates must be 'auto' or an int in \[5, .*; got"):
        model.predict_topk(data[0][:5], 5, n_candidates=n_candidates)


def test_a_list_that_is_old_when_it_is_made_is_not_kept(model, data, monkeypatch):
    """The weights change while the list is made, as if another thread trained."""
    X, y = data

    def late(*args):
        made = Shortlist(*args)
        model.partial_fit(X[:10], y[:10])
        return made

    with monkeypatch.context() as patch:
        patch.setattr(lookup, "Shortlist", late)
        lookup.shortlist(model._fitted.network, 1)
    assert model._fitted.network.derived.get("shortlist") is None
    model.predict(X[:10])
    assert model._fitted.network.derived.get("shortlist") is not None
