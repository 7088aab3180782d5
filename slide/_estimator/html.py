"""The table of the network that a notebook shows below the parameters of a fitted estimator."""

from html import escape
from typing import Any

from slide._base.arrays import Params
from slide._estimator.fitted import FittedAttributes, attributes_of

_HEAD = ("layer", "neurons", "active", "found by", "codes", "dropout")


class NetworkTable(FittedAttributes):
    """Mixin that adds a table of the network to the HTML of an estimator."""

    # scikit-learn calls one of these two, whatever its version.

    def _repr_html_inner(self) -> str:
        return self._with_table(super()._repr_html_inner())  # type: ignore[misc]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in shown:
            shown["text/html"] = self._with_table(shown["text/html"])
        return shown

    def _with_table(self, diagram: str) -> str:
        fitted = self._fitted
        return diagram if fitted is None else diagram + network_html(attributes_of(fitted))


def network_html(estimator: FittedAttributes) -> str:
    """HTML table of the layers of a network, and a line about its training."""
    params, widths = estimator.hash_params_, [len(b) for b in estimator.intercepts_]
    rows = [("input", f"{estimator.n_features_in_:,} features", "", "", "", "")]
    for i, width in enumerate(widths):
        is_output = i == len(widths) - 1
        name = (
            f"output, {params['loss']}" if is_output else f"hidden {i + 1}, {params['activation']}"
        )
        rows.append((name, f"{width:,}", *_found(params, i, width, is_output)))
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    return (
        '<table class="slide-network" cellpadding="5" style="font-size: 0.9em; text-align: left">'
        f"<thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
        f'<p style="font-size: 0.9em">{escape(_summary(estimator))}</p>'
    )


def _found(params: Params, i: int, width: int, is_output: bool) -> tuple[Any, ...]:
    """Active neurons, how they are found, codes and dropout of a layer."""
    policy = params["retrieval"][i]
    dropout = "" if is_output else params["dropout"][i] or "0"
    if (is_output and params["tail_size"] is None) or (not is_output and not params["n_active"][i]):
        return "all", "", "", dropout
    n_tables, n_bits = params["n_tables"][i], params["n_hash_bits"][i]
    codes = f"{params['hash_family'][i]}, {n_tables} × {n_bits} bits" if n_tables else ""
    active = params["n_active"][i]
    if is_output:
        active = f"labels + {params['tail_size']:,} drawn"
        if policy in ("none", "lists"):
            codes = ""
    return active, "" if policy == "none" and is_output else policy, codes, dropout


def _summary(estimator: FittedAttributes) -> str:
    share = estimator.compute_fraction_
    n_epochs = estimator.n_iter_
    parts = [
        f"{n_epochs} epoch{'s' if n_epochs != 1 else ''}",
        f"loss {estimator.loss_:.4g}",
        f"{share:.2%} of a dense network's multiplications",
    ]
    if estimator.prototype_weight_:
        parts.append(f"prototypes of weight {estimator.prototype_weight_:.3g}")
    if estimator.svm_weight_:
        parts.append(f"linear SVMs of weight {estimator.svm_weight_:.3g}")
    return "Trained for " + ", ".join(parts) + "."
