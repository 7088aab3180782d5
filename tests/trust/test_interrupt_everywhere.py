"""Interrupts before every bytecode: no lock, no count and no folder is left behind."""

import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from helpers.interrupts import Interrupt, InterruptAt, interrupted_everywhere

from slide import SparseMLPClassifier
from slide._base.files import replacing
from slide._base.guard import Guard, TemporaryFolder
from slide._base.locks import guard_of, one_at_a_time
from slide._base.rows import InputRows
from slide._network.rehash import follow, refresh
from slide._prediction import lookup
from slide.datasets import make_extreme_classification

# An interrupt after `open` leaves a file to the garbage collector, which closes it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
X, Y = make_extreme_classification(40, 50, 8, n_nonzero=5, n_informative=3, random_state=0)
NETWORKS = {
    "tables": {"retrieval": "rerank", "hash_family": "simhash"},
    "winners": {"retrieval": "topk", "hash_family": "dwta"},
    "estimates": {"retrieval": "estimate"},
    "scan": {"retrieval": "scan"},
}


def fitted(**params):
    sparse = {"active_fraction": (0.5, 0.5), "rehash_every": 10, "n_tables": 3, "n_hash_bits": 4}
    if params.get("retrieval") == "scan":
        del sparse["n_tables"], sparse["n_hash_bits"]
    params = {"max_iter": 2, "random_state": 0, **sparse, **params}
    return SparseMLPClassifier((16,), **params).fit(X, Y)


def is_free(*guards):
    """Whether another thread gets the locks at once."""
    got = []

    def take():
        for guard in guards:
            with guard.writing():
                got.append(guard)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(10)
    return len(got) == len(guards) and all(g.n_held == g.n_waiting == 0 for g in guards)


def assert_whole_or_unfitted(model):
    """Nothing is locked, the attributes agree, and the model predicts and goes on to train."""
    result = model._fitted
    guards = [guard_of(model), lookup._making]
    assert is_free(*guards, *([result.network.guard] if result else []))
    if result is not None:
        assert model.n_iter_ == len(model.loss_curve_) == len(model.history_)
        assert model.loss_ == model.loss_curve_[-1]
        assert model.predict_proba(X).shape == (40, 8)
    model.partial_fit(X, Y, classes=np.arange(8))
    assert np.isfinite(model.predict_proba(X)).all()


# ------------------------------------------------------------ every bytecode --


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_a_lock_is_free_after_an_interrupt_anywhere(kind):
    guard = Guard()

    def hold():
        with getattr(guard, kind)():
            len("block")

    for _ in interrupted_everywhere(lambda: hold):
        assert guard.n_held == guard.n_waiting == 0
    assert is_free(guard)


def test_a_turn_that_no_with_statement_got_is_given_back():
    guard = Guard()

    def enter(kind):
        getattr(guard, kind)().__enter__()

    for kind in ("reading", "writing"):
        enter(kind)
        assert guard.n_held == 0


def test_an_interrupt_while_waiting_leaves_nothing():
    guard, waits = Guard(), threading.Event()

    def handler(number, frame):
        raise Interrupt

    before = signal.signal(signal.SIGINT, handler)
    holder = threading.Thread(target=hold_until, args=(guard, waits))
    holder.start()
    try:
        while guard.n_held == 0:
            pass
        for turn in (guard.reading(), guard.writing()):
            sender = threading.Thread(target=interrupt_waiting, args=(guard,))
            sender.start()
            with pytest.raises(Interrupt), turn:
                pass
            sender.join()
            assert (guard.n_held, guard.n_waiting) == (1, 0)
    finally:
        waits.set()
        holder.join()
        signal.signal(signal.SIGINT, before)
    assert is_free(guard)


def hold_until(guard, event):
    with guard.writing():
        event.wait()


def interrupt_waiting(guard):
    while guard.n_waiting == 0:
        pass
    signal.raise_signal(signal.SIGINT)


def test_turns_of_methods_are_free_after_an_interrupt_anywhere():
    class Worker:
        @one_at_a_time
        def work(self):
            len("block")

    worker = Worker()
    for _ in interrupted_everywhere(lambda: worker.work):
        assert guard_of(worker).n_held == 0
    worker.work()
    assert is_free(guard_of(worker))


def test_a_file_is_whole_and_no_folder_is_left(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with replacing(str(path)) as temporary:
            os.truncate(temporary, 3)

    for _ in interrupted_everywhere(lambda: write):
        assert os.listdir(tmp_path) == ["file"]
        assert path.read_text() in ("old", "\0\0\0")
        path.write_text("old")


def test_a_folder_goes_with_its_object(tmp_path):
    folder = TemporaryFolder(str(tmp_path / "folder"))
    (tmp_path / "folder" / "file").touch()
    folder.remove()
    folder.remove()
    assert not os.listdir(tmp_path)
    folder = TemporaryFolder(str(tmp_path / "folder"))
    (tmp_path / "folder" / "file").touch()
    del folder
    assert not os.listdir(tmp_path)
    with pytest.raises(FileExistsError):
        TemporaryFolder(str(tmp_path))
    assert tmp_path.exists()


@pytest.mark.parametrize("kind", NETWORKS)
def test_predictions_and_rebuilds_leave_tables_that_can_be_read(kind):
    network = fitted(**NETWORKS[kind])._fitted.network
    rows = InputRows(network.inputs(X))
    network.layers[0].steps[:] += 100  # all neurons count as moved
    ids, _ = lookup.topk(network, rows, 8, 1)
    for step, work in (
        (211, lambda: lookup.topk(network, rows, 3, 1)),
        (5, lambda: refresh(network, 1)),
        (1, lambda: follow(network, 1)),
    ):
        for _ in interrupted_everywhere(lambda work=work: work, step=step):
            assert network.guard.n_held == 0
            scores = lookup.topk(network, rows, 8, 1)[1]
            assert np.isfinite(scores).all()
    refresh(network, 1)
    np.testing.assert_array_equal(lookup.topk(network, rows, 8, 1)[0].shape, ids.shape)


# ------------------------------------------------------------ whole operations --


def operations(model, path):
    model.save(path)
    yield "predict", lambda: model.predict(X)
    yield "topk", lambda: model.predict_topk(X, 3)
    yield "partial_fit", lambda: model.partial_fit(X, Y)
    yield "save", lambda: model.save(path)
    yield "load", lambda: SparseMLPClassifier.load(path)
    yield "pickle", lambda: pickle.loads(pickle.dumps(model))
    yield "fit", lambda: model.fit(X, Y)
    yield "warm fit", lambda: model.set_params(warm_start=True).fit(X, Y)


def check_operation(name, kind, step, tmp_path):
    pickled = pickle.dumps(fitted(**NETWORKS[kind]))
    path = tmp_path / "model"
    models = []

    def make():
        models[:] = [pickle.loads(pickled)]
        return dict(operations(models[0], path))[name]

    n = 0
    for n in interrupted_everywhere(make, ours=True, step=step):
        assert os.listdir(tmp_path) == ["model"], n
        assert_whole_or_unfitted(models[0])
        assert SparseMLPClassifier.load(path).n_iter_ == 2
    return n


OPERATIONS = "predict", "topk", "partial_fit", "save", "load", "pickle", "fit", "warm fit"


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_estimator_is_whole_or_unfitted(name, tmp_path):
    # Steps of a prime number: every part of the operation is met. All of them with -m slow.
    assert check_operation(name, "tables", 997, tmp_path) > 500


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_estimator_is_whole_or_unfitted_at_every_bytecode(name, kind, tmp_path):
    n = check_operation(name, kind, 1 if name in ("predict", "topk") else 3, tmp_path)
    print(f"{name} of {kind}: {n} bytecodes")


def test_the_helper_interrupts_where_it_should():
    seen = []

    def work():
        seen.append(1)
        seen.append(2)

    lengths = set()
    for _ in interrupted_everywhere(lambda: work):
        lengths.add(len(seen))
        seen.clear()
    assert lengths == {0, 1, 2}
    with InterruptAt(10**6) as at:
        work()
    assert not at.raised and sys.gettrace() is at._before
