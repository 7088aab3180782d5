"""Tests of exceptions that signal handlers raise: they come out as they are."""

import functools
import os
import re
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import slide
from slide import SparseMLPClassifier
from slide._base.handlers import raise_from_handler
from slide._base.values import described, refusing, shown, trusting_nothing


class Timeout(Exception):
    pass


class WrongTime(ValueError):
    pass


def plain(number, frame):
    raise Timeout


def star(*args):
    raise Timeout


def with_more(message, number, frame):
    raise Timeout(message)


def deep(number, frame):
    plain_helper()


def plain_helper():
    raise Timeout


def a_value_error(number, frame):
    raise WrongTime


class Handler:
    def method(self, number, frame):
        raise Timeout

    def __call__(self, number, frame):
        raise Timeout


HANDLERS = [
    plain, star, functools.partial(with_more, "late"), deep, a_value_error, Handler().method,
    Handler(),
]  # fmt: skip


@pytest.fixture(params=range(len(HANDLERS)))
def handler(request):
    before = signal.signal(signal.SIGINT, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    signal.raise_signal(signal.SIGINT)
    return 0


class Slow:
    """A value that is interrupted while it is read."""

    def __array__(self, dtype=None, copy=None):
        interrupt()

    def __repr__(self):
        interrupt()

    def __len__(self):
        return 4


@pytest.mark.parametrize("context", [refusing, trusting_nothing])
def test_a_handler_comes_through(handler, context):
    with pytest.raises((Timeout, WrongTime)), context("it is no model"):
        interrupt()


def test_a_handler_comes_through_what_became_of_it(handler):
    with pytest.raises((Timeout, WrongTime)), trusting_nothing("it is no model"):
        try:
            interrupt()
        except Exception as error:
            raise KeyError("other") from error


def test_a_handler_comes_through_values_and_methods(handler):
    with pytest.raises((Timeout, WrongTime)):
        shown(Slow())
    X, y = np.eye(4), [0, 1, 0, 1]
    clf = SparseMLPClassifier((4,), max_iter=1, random_state=0)
    for call in (lambda: clf.fit(Slow(), y), lambda: clf.fit(X, y).predict(Slow())):
        with pytest.raises((Timeout, WrongTime)):
            call()
    with pytest.raises((Timeout, WrongTime)):
        clf.set_params(tol=Slow()).fit(X, y)


def test_a_handler_comes_through_labels_and_cells(handler):
    class Label:
        def __hash__(self):
            interrupt()

    class Cell:
        def toordinal(self):
            """A date, for the message."""

        def __repr__(self):
            interrupt()

    class Failing(Exception):
        def __str__(self):
            interrupt()

    X, y = np.eye(4), np.array(["a", "b", "a", "b"], object)
    clf = SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(X, y)
    strange = np.array([Label() for _ in y], object)
    for call in (
        lambda: clf.score(X, strange),
        lambda: clf.predict([[Cell(), 0, 0, 0]]),  # the message shows the cell
        lambda: described(Failing()),
    ):
        with pytest.raises((Timeout, WrongTime)):
            call()


def test_whoever_catches_everything_lets_handlers_through():
    for path in Path(slide.__file__).parent.rglob("*.py"):
        lines = path.read_text().splitlines()
        for line, following in pairwise([*lines, ""]):
            assert "suppress(Exception" not in line, path
            if re.match(r" *except Exception\b", line):
                assert "raise_from_handler(" in following, (path, line)


def test_other_errors_are_told_apart():
    def ours(number, frame):
        raise Timeout

    with pytest.raises(ValueError, match="X cannot be made an array of numbers or labels"):
        with refusing("X"):
            ours(1, None)
    with pytest.raises(ValueError, match="it is no model"), trusting_nothing("it is no model"):
        raise KeyError(os.devnull)
    raise_from_handler(KeyError())
