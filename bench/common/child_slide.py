"""Our system: with all defaults except the number of threads, or an ablation of it.

The environment variable SLIDE_BENCH_SETTINGS may hold JSON of internal settings, which are not
parameters of the estimator. They are set after "auto" was resolved.
"""

import json
import os

import slide
from common.child import TOP, params, run
from common.engine import model_bytes, replace_settings, tally, time_passes
from slide import SparseMLPClassifier


def train(X, Y, threads):
    replace_settings(json.loads(os.environ.get("SLIDE_BENCH_SETTINGS", "{}")))
    passes = time_passes()
    model = SparseMLPClassifier(**{"n_jobs": threads, "random_state": 0, **params()}).fit(X, Y)
    fitted = ("n_iter_", "loss_", "compute_fraction_", "hash_params_")
    settings = {name: getattr(model, name, None) for name in fitted}
    counted = {"tally": tally(model), "epochs_s": sum(passes), "passes_s": list(passes)}
    return model, {**model.get_params(), **settings, **counted}


def predict(model, X, threads):
    labels, _ = model.predict_topk(X, k=min(TOP, model.n_outputs_))
    return labels


if __name__ == "__main__":
    run(
        train,
        predict,
        {"slide": slide.__version__},
        size=model_bytes,
        log_shares=SparseMLPClassifier.predict_log_proba,
    )
