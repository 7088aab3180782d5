"""Tests of the resolved settings."""

from dataclasses import FrozenInstanceError

import pytest

from slide import SparseMLPClassifier
from slide._settings.rules import check_params
from slide._settings.settings import CourseSettings


def test_a_course_reads_some_of_the_parameters():
    params = {"tol": 0.5, "n_iter_no_change": 3, "learning_rate": "constant", "verbose": True}
    estimator = SparseMLPClassifier(shuffle=False, learning_rate_init=0.01, **params)
    settings = CourseSettings.of(check_params(estimator.get_params(deep=False)))
    assert vars(settings) == {"shuffle": False, "learning_rate_init": 0.01, **params}
    with pytest.raises(FrozenInstanceError):
        settings.tol = 1.0
