"""Forms of a network's arrays: those of the arrays that it really has."""

import pytest
from helpers.kinds import KINDS

from slide._base.named_arrays import forms_of
from slide._saving.forms import network_forms
from slide._saving.network_state import network_state

MORE = {"prototypes": {"prototypes": True}, "half": {**KINDS["wide"], "weight_dtype": "bfloat16"}}


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, *MORE])
def test_forms_are_those_of_the_arrays(kind, is_sparse, classifier, planted):
    x, y = planted
    clf = classifier(**{**KINDS, **MORE}[kind]).set_params(max_iter=1)
    dense = x[:100].toarray() + (kind != "prototypes")  # these need zeros
    network = clf.fit(x[:100] if is_sparse else dense, y[:100])._fitted.network
    arrays = network_state(network)[1]
    prototypes = network.prototypes
    n_values = None if prototypes is None else len(prototypes.by_feature.data)
    found = [layer.retrieval and layer.retrieval.directions for layer in network.layers]
    n_directions = [0 if one is None else len(one.named_arrays()["vectors"]) for one in found]
    widths = [network.n_features, *network.hidden_layer_sizes, network.n_classes]
    parts = {"center": network.x_mean, "columns": network.columns, "started": network.started}
    optional = [name for name, part in parts.items() if part is not None]
    with_biases = prototypes is not None and prototypes.svm_weight > 0
    forms = network_forms(widths, network.settings, optional, n_values, with_biases, n_directions)
    assert forms_of(arrays) == forms
    if kind == "wide" and not is_sparse:
        assert n_directions[0]
