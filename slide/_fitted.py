"""Fitted attributes that are read off the network; `SparseMLPClassifier` documents them."""

from sklearn.utils.validation import check_is_fitted

from slide import _simd


class FittedAttributes:
    """Mixin of an estimator whose `_network` is a `slide._network.Network`."""

    @property
    def coefs_(self):
        check_is_fitted(self)
        return [layer.coefs for layer in self._network.layers]

    @property
    def intercepts_(self):
        check_is_fitted(self)
        return [layer.b for layer in self._network.layers]

    @property
    def t_(self):
        check_is_fitted(self)
        return self._network.tally.n_samples

    @property
    def compute_fraction_(self):
        check_is_fitted(self)
        tally = self._network.tally
        return tally.multiply_adds / tally.dense_multiply_adds

    @property
    def hash_params_(self):
        check_is_fitted(self)
        return {
            **self._network.settings.describe(),
            "n_rebuilds": self._network.tally.n_rebuilds,
            "instruction_set": _simd.instruction_set(),
        }
