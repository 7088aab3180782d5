"""The stand-in for scikit-learn's callbacks: a Checkpoint works without them, and nothing else."""

import pytest
from sklearn.base import BaseEstimator, clone

from slide._estimator.callbacks import CheckpointOnly, NoContext
from slide.callback import Checkpoint


class Estimator(CheckpointOnly, BaseEstimator):
    """An estimator under scikit-learn 1.6 to 1.8."""

    def __init__(self, width=1):
        self.width = width


def test_a_checkpoint_stays_with_the_clones(tmp_path):
    checkpoint = Checkpoint(tmp_path / "training")
    estimator = Estimator(width=5)
    assert estimator.set_callbacks(checkpoint) is estimator
    twin = clone(clone(estimator))
    assert twin.width == 5
    assert twin._skl_callbacks == [checkpoint]
    assert twin.set_callbacks()._skl_callbacks == []
    assert not hasattr(clone(Estimator()), "_skl_callbacks")


@pytest.mark.parametrize("callback", [object(), Checkpoint, None, "training", Estimator()])
def test_other_callbacks_are_refused(callback, tmp_path):
    estimator = Estimator().set_callbacks(Checkpoint(tmp_path / "training"))
    before = estimator._skl_callbacks
    with pytest.raises(ValueError, match=r"callbacks must be of slide.callback.Checkpoint before"):
        estimator.set_callbacks(Checkpoint(tmp_path / "other"), callback)
    assert estimator._skl_callbacks is before


def test_nobody_is_told_and_nobody_stops_a_training():
    context = NoContext()
    epoch = context.subcontext(task_name="epoch")
    epoch.call_on_fit_task_begin(estimator=None)
    assert epoch.call_on_fit_task_end(estimator=None) is False
