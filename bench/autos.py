"""The rules of "auto": a grid of settings on problems of many shapes, proved by leaving one out.

    python bench/autos.py measure [PROBLEM ...]    # some minutes each; goes on where it stopped
    python bench/autos.py prove

`measure` fits every setting of the grid, and the defaults, on each problem, with one thread, and
writes `bench/results/autos/<problem>.json`: quality on rows that are not trained on, processor
seconds of the fit, seconds of prediction. Runs of the same machine are comparable, and two may run
side by side.

`prove` compares, for each problem, the defaults with the best setting of the grid.
"""

import argparse
import itertools
import json
from time import perf_counter, process_time

import numpy as np
from common.data import load, load_fashion_mnist, load_planted, load_windows
from common.run import RESULTS, origin, write
from common.table import print_table
from scipy import sparse

from slide import SparseMLPClassifier
from slide.metrics import ndcg_at_k, precision_at_k

FOLDER = RESULTS / "autos"
SHORT = {"n_features": 20_000, "n_nonzero": 5, "n_informative": 4}
# Arguments of make_extreme_classification; a tenth of the rows is the test.
PLANTED = {
    "1-label-100-classes-flat": {
        "n_samples": 60_000, "n_classes": 100, "n_siblings": 5, "zipf_exponent": 0.0, **SHORT,
    },
    "1-label-10000-classes": {
        "n_samples": 60_000, "n_features": 40_000, "n_classes": 10_000, "n_siblings": 10,
        "zipf_exponent": 0.5,
    },
    "1-label-100000-classes-flat": {
        "n_samples": 220_000, "n_features": 60_000, "n_classes": 100_000, "n_siblings": 3,
        "zipf_exponent": 0.0, "n_nonzero": 12, "n_informative": 6,
    },
    "3-labels-1000-classes": {
        "n_samples": 40_000, "n_features": 20_000, "n_classes": 1_000, "n_labels": 3,
        "n_siblings": 5, "n_nonzero": 60, "n_informative": 18,
    },
    "3-labels-1000000-classes": {
        "n_samples": 150_000, "n_features": 80_000, "n_classes": 1_000_000, "n_labels": 3,
        "n_siblings": 4, "n_nonzero": 40, "n_informative": 18, "zipf_exponent": 0.8,
    },
    "10-labels-5000-classes": {
        "n_samples": 30_000, "n_features": 40_000, "n_classes": 5_000, "n_labels": 10,
        "n_siblings": 5, "n_nonzero": 300, "n_informative": 80, "zipf_exponent": 0.7,
    },
    "10-labels-50000-classes": {
        "n_samples": 60_000, "n_features": 40_000, "n_classes": 50_000, "n_labels": 10,
        "n_siblings": 5, "n_nonzero": 40, "n_informative": 30, "zipf_exponent": 0.5,
    },
    "30-labels-1000-classes": {
        "n_samples": 15_000, "n_features": 5_000, "n_classes": 1_000, "n_labels": 30,
        "n_siblings": 4, "n_nonzero": 120, "n_informative": 100, "zipf_exponent": 0.7,
    },
}  # fmt: skip
REAL = ("oewn", "eurlex57k", "bibtex", "delicious", "windows", "fashion-mnist")
PROBLEMS = (*REAL, *PLANTED)

WIDTHS = ((256, 0.3), (512, 0.5), (1024, 0.75))
TAILS = (200, 600, 1800)
LISTS = ("none", "lists")
EPOCHS = (1, 2)  # times the usual number
RATES = (7e-4, 1.5e-3)  # instead of 1e-3


def load_problem(name):
    """X_train, Y_train, X_test, Y_test of a problem; EURLEX57K is judged on its part dev."""
    if name == "windows":
        return load_windows(150_000, 15_000)
    if name == "eurlex57k":
        return load("eurlex57k-dev")
    if name == "fashion-mnist":
        X, y, X_test, y_test = load_fashion_mnist()
        return X, one_hot(y), X_test, one_hot(y_test)
    if name in PLANTED:
        return load_planted(**PLANTED[name])
    return load(name)


def one_hot(y):
    ones = np.ones(len(y), np.float32)
    return sparse.csr_matrix((ones, y, np.arange(len(y) + 1)), shape=(len(y), 10))


def usual_epochs(X):
    """The epochs of "auto" before this grid was measured."""
    n = X.shape[0]
    return max(5, round(80 * n**-0.2), min(200, -(-1000 // -(-n // max(8, min(64, n // 40))))))


def grid(X, Y):
    """Settings for a problem, 30 or more: width with its dropout, tail, lists, epochs.

    Where classes are few, tails and lists coincide; then also learning rate and prototypes.
    """
    tails = [size for size in TAILS if size < Y.shape[1] / 2]
    if Y.shape[1] <= 5 * TAILS[-1]:
        tails.append("all")
    settings = {}
    for (width, dropout), tail, lists, times in itertools.product(WIDTHS, tails, LISTS, EPOCHS):
        params = {
            "hidden_layer_sizes": (width,), "dropout": dropout,
            "max_iter": times * usual_epochs(X), "retrieval": lists,
        }  # fmt: skip
        if tail == "all":
            if lists == "lists":
                continue
            params["active_fraction"] = 1.0
        else:
            params["tail_size"] = tail
        if Y.shape[1] * width > 6e8:
            continue  # more than the memory of a small machine
        settings[f"{width} {tail} {lists} x{times}"] = params
    for name, values in (("learning_rate_init", RATES), ("prototypes", (False,))):
        if len(settings) < 30:
            settings |= {
                f"{key} {name}={value}": {**params, name: value}
                for key, params in settings.items()
                for value in values
            }
    return settings


def measure(name, tries):
    X, Y, X_test, Y_test = load_problem(name)
    n_test = min(X_test.shape[0], max(3000, 400_000_000 // Y.shape[1]))
    X_test, Y_test = X_test[:n_test], Y_test[:n_test]
    path = FOLDER / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    settings = {"auto": {}, **grid(X, Y)}
    # A target of one label a row is an array of classes, as a user has it.
    y = Y.indices if (np.diff(Y.indptr) == 1).all() else Y
    for key, params in settings.items():
        if key in known["runs"] or (tries and key not in tries):
            continue
        clf = SparseMLPClassifier(random_state=0, n_jobs=1, **params)
        began = process_time()
        clf.fit(X, y)
        trained, start = process_time() - began, perf_counter()
        k = min(5, clf.n_outputs_)
        top, _ = clf.predict_topk(X_test, k=k)
        predicted = perf_counter() - start
        known["runs"][key] = {
            **{f"P@{i}": round(precision_at_k(Y_test, top, i), 5) for i in (1, 3, 5) if i <= k},
            "nDCG@5": round(ndcg_at_k(Y_test, top, k), 5),
            "cpu_s": round(trained, 2), "predict_s": round(predicted, 2),
            "params": params, "prototype_weight": clf.prototype_weight_,
        }  # fmt: skip
        print(name, key, {k: v for k, v in known["runs"][key].items() if k != "params"}, flush=True)
        known |= {
            "problem": name, "rows": X.shape[0], "classes": Y.shape[1],
            "labels_per_row": round(Y.nnz / Y.shape[0], 2),
            "nonzeros_per_row": round(sparse.csr_matrix(X).nnz / X.shape[0], 1),
            **origin(1),
        }  # fmt: skip
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(known, indent=1))


# ------------------------------------------------------------------- proof --

# Rules that "auto" could follow, each from the shape of a problem to a value of the grid.
RULES = {
    "width": {
        "256": lambda shape: 256,
        "512": lambda shape: 512,
        "1024": lambda shape: 1024,
        "by classes": lambda shape: 1024 if shape["classes"] <= 2048 else 512,
        "by classes and rows": lambda shape: (
            256 if shape["rows_per_class"] > 1000 else 1024 if shape["classes"] <= 2048 else 512
        ),
    },
    "tail": {
        "200": lambda shape: 200,
        "600": lambda shape: 600,
        "1800": lambda shape: 1800,
        "by labels": lambda shape: 600 if shape["labels_per_row"] >= 1.5 else 200,
    },
    "lists": {
        "none": lambda shape: "none",
        "lists": lambda shape: "lists",
        "by labels": lambda shape: "none" if 1 < shape["labels_per_row"] < 1.5 else "lists",
    },
    "epochs": {
        "x1": lambda shape: "x1",
        "x2": lambda shape: "x2",
        "by rows": lambda shape: "x2" if shape["rows_per_class"] > 30 else "x1",
    },
}
MEASURE = "nDCG@5"


def table_of(known):
    """Shape and runs of a problem."""
    shape = {**known, "rows_per_class": known["labels_per_row"] * known["rows"] / known["classes"]}
    return shape, known["runs"]


def setting(shape, runs, rules):
    """The run of the grid that some rules choose, or the nearest one that the grid has."""
    width, tail, lists, epochs = (
        RULES[kind][name](shape) for kind, name in zip(RULES, rules, strict=True)
    )
    for width_, tail_, lists_ in itertools.product(
        sorted({256, 512, 1024}, key=lambda w: (w != width, -w)),
        (tail, 600, 200, "all"),
        (lists, "none"),
    ):
        key = f"{width_} {tail_} {lists_} {epochs}"
        if key in runs:
            return runs[key]
    raise KeyError(f"{shape['problem']} has no run for {rules}")


def best_of(runs):
    return max((run for key, run in runs.items() if key != "auto"), key=lambda run: run[MEASURE])


def prove(names):
    """Print how far the defaults, and rules made on the other problems, are from the best."""
    problems = {name: table_of(json.loads((FOLDER / f"{name}.json").read_text())) for name in names}
    candidates = list(itertools.product(*RULES.values()))
    shares = {
        name: np.array([setting(shape, runs, rules)[MEASURE] for rules in candidates])
        / best_of(runs)[MEASURE]
        for name, (shape, runs) in problems.items()
    }
    rows = {}
    for name, (_, runs) in problems.items():
        best, auto = best_of(runs), runs["auto"]
        others = sum(np.minimum(shares[other], 0.99) for other in problems if other != name)
        made = int(others.argmax())
        rows[name] = {
            "best": best[MEASURE], "auto": auto[MEASURE],
            "auto_share": auto[MEASURE] / best[MEASURE],
            "left_out_share": shares[name][made],
            "auto_time": auto["cpu_s"] / best["cpu_s"],
            "rules": " / ".join(candidates[made]), "status": "ok",
        }  # fmt: skip
    form = {
        "best": ".4f", "auto": ".4f", "auto_share": ".3f", "left_out_share": ".3f",
        "auto_time": ".2f",
    }  # fmt: skip
    print_table("", rows, {name: (name, how) for name, how in form.items()}, (30, 16))
    for name, row in rows.items():
        print(f"{name}: without it the rules are {row['rules']} ({', '.join(RULES)})")
    write(rows, FOLDER / "proof.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("measure", "prove"))
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--tries", nargs="*", help="only these settings")
    args = parser.parse_args()
    if args.what == "prove":
        prove(args.problems)
        return
    for name in args.problems:
        measure(name, args.tries)


if __name__ == "__main__":
    main()
