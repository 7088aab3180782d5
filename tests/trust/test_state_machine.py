"""Random courses of calls on one estimator: it is always the old one, the new one or unfitted."""

import pickle
import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.interrupts import Interrupt, InterruptAt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from slide import SparseMLPClassifier
from slide._base.locks import guard_of
from slide._prediction import lookup

RNG = np.random.default_rng(0)
N_ROWS = 24


def problem(width, name, n_classes):
    values = RNG.random((N_ROWS, width)).astype("f4")
    values[values < 0.8] = 0
    labels = np.array([f"{name}{i}" for i in range(n_classes)])
    return csr_array(values), labels[np.arange(N_ROWS) % n_classes]


PROBLEMS = [problem(10, "a", 3), problem(40, "b", 5), problem(300, "c", 2)]
KINDS = [
    {"active_fraction": 1.0},
    {"active_fraction": (0.5, 0.5), "retrieval": "rerank", "n_tables": 3, "n_hash_bits": 3},
    {"active_fraction": (0.5, 1.0), "retrieval": "estimate"},
]
problems, places = st.sampled_from(range(len(PROBLEMS))), st.integers(0, 30_000)
counts: Counter = Counter()


class Courses(RuleBasedStateMachine):
    """`problem` is the number of the problem that the estimator was fitted to, or None."""

    def __init__(self):
        super().__init__()
        counts["courses"] += 1
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "model")
        self.model = SparseMLPClassifier((8,), max_iter=1, random_state=0, rehash_every=10)
        self.problem = self.saved = None

    def teardown(self):
        self.folder.cleanup()

    def attempt(self, call, at=None):
        """Call, interrupted before bytecode `at` if given; returns whether it came to an end."""
        if at is None:
            call()
            return True
        try:
            with InterruptAt(at, ours=True):
                call()
        except Interrupt:
            counts["interrupts"] += 1
            return False
        return True

    def follow(self, number, done):
        """Note which problem the estimator knows; after an interrupt the old one, or none, too."""
        found = None if self.model._fitted is None else self.problem_of(self.model)
        assert found == number or (not done and found in (self.problem, None))
        self.problem = found

    @rule(number=problems, at=st.none() | places)
    def fit(self, number, at):
        X, y = PROBLEMS[number]
        warm = self.model.warm_start and self.problem is not None
        if warm and number != self.problem:
            with pytest.raises(ValueError):
                self.model.fit(X, y)
            return
        self.follow(number, self.attempt(lambda: self.model.fit(X, y), at))

    @rule(number=problems, at=st.none() | places)
    def partial_fit(self, number, at):
        X, y = PROBLEMS[number]
        if self.problem not in (None, number):
            with pytest.raises(ValueError):
                self.model.partial_fit(X, y)
            return
        done = self.attempt(lambda: self.model.partial_fit(X, y, classes=np.unique(y)), at)
        self.follow(number, done)

    @precondition(lambda self: self.problem is None)
    @rule(kind=st.sampled_from(KINDS))
    def choose_a_network(self, kind):
        defaults = SparseMLPClassifier().get_params()
        names = {name for other in KINDS for name in other}
        self.model.set_params(**{**{name: defaults[name] for name in names}, **kind})

    @rule(warm_start=st.booleans(), mode=st.sampled_from(["exact", "lsh"]))
    def set_params(self, warm_start, mode):
        self.model.set_params(warm_start=warm_start, predict_mode=mode)

    @rule()
    def set_a_wrong_parameter(self):
        self.model.set_params(tol=-1.0)
        with pytest.raises(ValueError, match="tol must be"):
            self.model.fit(*PROBLEMS[0])
        if not self.model.warm_start:
            self.problem = None
        self.model.set_params(tol=1e-4)

    @rule(at=st.none() | places)
    def save(self, at):
        if self.problem is None:
            with pytest.raises(NotFittedError):
                self.model.save(self.path)
        elif self.attempt(lambda: self.model.save(self.path), at) or self.saved is None:
            self.saved = self.problem if Path(self.path).exists() else None
        else:
            self.saved = self.problem_of(SparseMLPClassifier.load(self.path))
        assert {path.name for path in Path(self.folder.name).iterdir()} <= {"model"}

    @precondition(lambda self: self.saved is not None)
    @rule(at=st.none() | places)
    def load(self, at):
        loaded = []
        if self.attempt(lambda: loaded.append(SparseMLPClassifier.load(self.path)), at):
            self.model, self.problem = loaded[0], self.saved

    @rule()
    def go_through_a_pickle(self):
        self.model = pickle.loads(pickle.dumps(self.model))

    @rule()
    def become_a_clone(self):
        self.model, self.problem = clone(self.model), None

    @rule(at=places)
    def predict_with_an_interrupt(self, at):
        if self.problem is not None:
            self.attempt(lambda: self.model.predict(PROBLEMS[self.problem][0]), at)

    @rule(number=problems)
    def fit_within_fit(self, number):
        X, y = PROBLEMS[number]
        model = self.model

        class Nested:
            def __array__(self, dtype=None, copy=None):
                model.fit(X, y)

        with pytest.raises(RuntimeError, match="fit was called while this SparseMLPClassifier"):
            model.fit(Nested(), y)
        if not model.warm_start:
            self.problem = None

    @rule(number=problems)
    def predict_in_threads_beside_a_fit(self, number):
        X, y = PROBLEMS[number]
        before, errors = self.problem, []
        if self.model.warm_start and before not in (None, number):
            return

        def predict():
            for _ in range(3):
                for other in {number} | ({before} if before is not None else set()):
                    try:
                        found = self.model.predict(PROBLEMS[other][0])
                        assert np.isin(found, PROBLEMS[other][1]).all()
                        counts["answers"] += 1
                    except NotFittedError:
                        counts["unfitted"] += 1
                    except ValueError as error:
                        if "features, but SparseMLPClassifier is expecting" not in str(error):
                            errors.append(error)
                    except BaseException as error:
                        errors.append(error)

        threads = [threading.Thread(target=predict) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.model.fit(X, y)
        for thread in threads:
            thread.join()
        assert not errors
        self.problem = number

    def problem_of(self, model):
        return next(i for i, (X, _) in enumerate(PROBLEMS) if X.shape[1] == model.n_features_in_)

    @invariant()
    def it_is_whole_or_unfitted(self):
        model, fitted = self.model, self.model._fitted
        guards = [guard_of(model), lookup._making] + ([fitted.network.guard] if fitted else [])
        assert all(guard.n_held == guard.n_waiting == 0 for guard in guards)
        if self.problem is None:
            assert not hasattr(model, "classes_") and not hasattr(model, "n_features_in_")
            with pytest.raises(NotFittedError):
                model.predict(PROBLEMS[0][0])
            return
        X, y = PROBLEMS[self.problem]
        assert model.n_features_in_ == X.shape[1]
        assert list(model.classes_) == sorted(set(y))
        assert np.isin(model.predict(X), y).all()
        assert model.loss_ == model.loss_curve_[-1] and len(model.loss_curve_) <= model.n_iter_


# Faults must come out the same every time: no database, no luck.
ORDINARY = settings(
    max_examples=15, stateful_step_count=12, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestCourses = Courses.TestCase
TestCourses.settings = ORDINARY


@pytest.mark.slow
def test_two_thousand_courses():
    from hypothesis.stateful import run_state_machine_as_test

    counts.clear()
    run_state_machine_as_test(Courses, settings=settings(ORDINARY, max_examples=2100))
    print(dict(counts))
    assert counts["courses"] >= 2000 and counts["interrupts"] > 1000
