"""Tests of the estimator's HTML in a notebook, and of the report of versions."""

import re

from sklearn import config_context

import slide
from slide._simd import dispatch

TEXT = re.compile(r"<td>(.*?)</td>")


def cells(clf):
    table = clf._repr_html_().split("<tbody>")[-1]
    return [TEXT.findall(row) for row in table.split("<tr>")[1:]]


def test_before_fit_it_is_that_of_scikit_learn(classifier):
    assert "slide-network" not in classifier()._repr_html_()


def test_dense_network(classifier, planted):
    clf = classifier().fit(*planted)
    params = clf.hash_params_
    assert cells(clf) == [
        ["input", "300 features", "", "", "", ""],
        ["hidden 1, relu", "32", "all", "", "", str(params["dropout"][0])],
        [f"output, {params['loss']}", "39", "all", "", "", ""],
    ]
    assert f"{clf.compute_fraction_:.2%} of a dense network" in clf._repr_html_()
    assert "Trained for 3 epochs, loss " in clf._repr_html_()


def test_sparse_network(classifier, planted):
    clf = classifier(
        hidden_layer_sizes=(200,), active_fraction=(0.2, 0.5), retrieval="rerank", n_tables=7,
        n_hash_bits=4, hash_family="wta", tail_size=9,
    ).fit(*planted)  # fmt: skip
    _, hidden, output = cells(clf)
    assert hidden[:5] == ["hidden 1, relu", "200", "40", "rerank", "wta, 7 × 4 bits"]
    assert output[1:5] == ["39", "labels + 9 drawn", "rerank", "wta, 7 × 4 bits"]


def test_prototypes(classifier, multilabel):
    assert "prototypes of weight" not in classifier().fit(*multilabel)._repr_html_()
    clf = classifier(prototypes=True).fit(*multilabel)
    assert clf.prototype_weight_ > 0 and clf.svm_weight_ > 0
    page = clf._repr_html_()
    assert f"prototypes of weight {clf.prototype_weight_:.3g}, linear SVMs of weight" in page
    assert f"{clf.svm_weight_:.3g}." in page


def test_every_network_has_a_page(network, classifier, planted):
    clf = classifier(**network).fit(*planted)
    assert len(cells(clf)) == len(clf.intercepts_) + 1
    assert clf._repr_mimebundle_()["text/html"].count("slide-network") == 1


def test_plain_text_is_asked_for(classifier, planted):
    clf = classifier().fit(*planted)
    with config_context(display="text"):
        assert "text/html" not in clf._repr_mimebundle_()


def test_show_versions(capsys):
    slide.show_versions()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert f"instruction set: {dispatch.instruction_set()}" in lines
    for name in ("python", "numpy", "scikit-learn", "slide", "processors", "most threads"):
        assert any(line.startswith(f"{name}: ") for line in lines), name
