"""Tables and plots for the benchmarks page, made from bench/results/*.json."""

import json

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SYSTEMS = {
    "slide": "slide",
    "default": "slide",
    "dense": "slide, dense",
    "lsh": "slide, 5 % by hashing",
    "exact": "slide, the largest 5 % (ceiling)",
    "random": "slide, 5 % at random (floor)",
    "bfloat16": 'slide, `weight_dtype="bfloat16"`',
    "network": "slide without prototypes",
    "tail": 'slide, `retrieval="none"`',
    "lsh+tail": 'slide, `retrieval="lists"`',
    "tables": 'slide, `retrieval="rerank"`',
    "lists": 'slide, `retrieval="lists"`',
    "none": 'slide, `retrieval="none"`',
    "softmax": 'slide, `loss="softmax"`',
    "pytorch": "PyTorch, dense",
    "centred": "PyTorch, dense, on centred pixels",
    "fastest": "PyTorch, dense, fastest batch and type",
    "sklearn": "scikit-learn, dense",
    "torch": "PyTorch, dense",
    "torch-bf16": "PyTorch, dense, bf16",
    "torch-huge": "PyTorch, dense, huge pages",
    "torch-bf16-huge": "PyTorch, dense, bf16, huge pages",
    "torch-sampled": "PyTorch, sampled softmax",
    "pecos": "PECOS XR-Linear",
    "omikuji": "Omikuji, 3 Parabel trees",
    "bonsai": "Omikuji, 3 Bonsai trees",
    "napkinxc": "napkinXC PLT",
}
PROBLEMS = {
    "classes": "670,091 classes",
    "layers": "3 × 1,000 neurons, 5 %",
    "layer": "1,000 neurons, 5 %",
    "dense": "3 × 1,000 neurons, dense",
    "popular": "popular features",
}
OURS, PEERS = "#1f5fa8", "#c4572b"


def write(results, folder):
    """Write a Markdown file for every benchmark, and its plot, to a folder.

    Parameters
    ----------
    results, folder : pathlib.Path
    """
    folder.mkdir(parents=True)
    plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "svg.hashsalt": "slide"})

    def read(name):
        return json.loads((results / f"{name}.json").read_text())

    pages = {
        "headline": headline,
        "widths": widths,
        "hash-ablation": hash_ablation,
        "xmc-oewn": xmc,
        "xmc-oewn-torch": xmc,
        "xmc-eurlex57k": xmc,
        "xmc-bibtex": xmc,
        "xmc-delicious": xmc,
        "blocks": blocks,
        "scale": scale,
        "text": text,
        "predict": predict,
        "predict-prototypes": predict,
        "threads": threads,
        "tables": tables,
        "kernels": kernels,
    }
    for name, page in pages.items():
        result = read(name)
        parts = [page(result), bars(result), origin(name, result)]
        body = "\n\n".join(part for part in parts if part)
        (folder / f"{name}.md").write_text(f"{body}\n", encoding="utf-8")
    for name, plot in {"widths": plot_widths, "scale": plot_scale, "text": plot_text}.items():
        save(plot, read(name), folder / f"{name}.svg")
    save(plot_predict, read("predict"), folder / "predict.svg")
    save(plot_xmc, read("xmc-oewn"), folder / "xmc-oewn.svg")


# ----------------------------------------------------------------- tables --


def table(head, rows):
    """A Markdown table: texts to the left, figures to the right."""
    rules = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rules, *rows])


def number(value, digits):
    """A figure with thousands separators; an en dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def figures(row, columns):
    """Cells of one row of a result; columns are pairs of key and digits."""
    if row.get("status", "ok") != "ok":
        return [str(row["status"])] + ["–"] * (len(columns) - 1)
    return [number(row.get(key), digits) for key, digits in columns]


def system_table(systems, head, columns):
    rows = [[SYSTEMS[key], *figures(row, columns)] for key, row in systems.items()]
    return table(["", *head], rows)


def bars(result):
    """A table of the targets of a benchmark, their outcomes and the measured values."""
    found = []
    for verdict in result.get("verdicts", []):
        value = verdict.get("value")
        value = "–" if value is None else format(value, verdict["form"])
        found.append((verdict["bar"], verdict["verdict"], value))
    if "bar" in result:
        bar = result["bar"]
        found.append((bar["bar"], bar["status"], number(bar["value"], 3)))
    return table(["target", "outcome", "value"], [list(row) for row in found]) if found else ""


def origin(name, result):
    """A line that names the file, date, commit and machine of the figures."""
    said = [f"`bench/results/{name}.json`", result["date"][:10]]
    if result.get("commit"):
        said.append(f"commit {result['commit']}")
    said.append(result["processor"])
    if result.get("instruction_set"):
        said.append(result["instruction_set"])
    n_threads = result["threads"]
    if isinstance(n_threads, int):
        said.append(f"{n_threads} thread{'s' * (n_threads > 1)}")
    for key, what in (("seeds", "seeds"), ("repeats", "repeats")):
        if key in result:
            said.append(f"{result[key]} {what if result[key] > 1 else what[:-1]}")
    return f"*Source: {', '.join(said)}.*"


def headline(result):
    head = ["accuracy", "multiplications", "s per epoch", "prediction, s", "peak, MB"]
    columns = [
        ("accuracy", 3),
        ("compute_fraction", 3),
        ("s_per_epoch", 1),
        ("predict_s", 2),
        ("peak_mb", 0),
    ]
    numbers = {"1": "One hidden layer", "3": "Three hidden layers", "5": "Five", "7": "Seven"}
    parts = []
    for depth, systems in result["depths"].items():
        parts += [f"**{numbers[depth]} of 1,000**", system_table(systems, head, columns)]
    return "\n\n".join(parts)


def widths(result):
    columns = [
        ("accuracy", 3),
        ("compute_fraction", 4),
        ("multiply_adds", 0),
        ("us_per_sample", 0),
        ("peak_mb", 0),
    ]
    head = ["neurons", "accuracy", "share of dense", "multiplications", "µs per sample", "peak, MB"]
    return table(head, [[row["name"], *figures(row, columns)] for row in result["networks"]])


def blocks(result):
    columns = [("first_us_per_sample", 1), ("us_per_sample", 1), ("ratio", 2), ("train_s", 1)]
    columns.append(("peak_mb", 0))
    names = {"oewn": "OEWN", "eurlex57k-dev": "EURLEX57K", "classes": "670,091 classes"}
    rows = [
        [names[problem], layer, *figures(row, columns)]
        for problem, layers in result["problems"].items()
        for layer, row in layers.items()
    ]
    head = ["", "neurons", "µs per sample, first pass", "later passes", "× 256 neurons", "`fit`, s"]
    return table([*head, "peak, MB"], rows)


def hash_ablation(result):
    """Accuracy and share of multiplications by policy, and by family with and without transform."""
    found = {(v["hash_family"], v["retrieval"], v["transform"]): v for v in result["variants"]}

    def cell(*key):
        v = found.get(key)
        return f"{v['accuracy']:.3f} ({v['compute_fraction']:.3f})" if v else "–"

    families = ("simhash", "wta", "dwta", "minhash")
    rows = [
        ["exact (ceiling)", cell(None, "exact", None), "–", "–", "–"],
        ["none (floor)", cell(None, "none", None), "–", "–", "–"],
    ]
    for policy in ("estimate", "rerank", "topk", "threshold", "vanilla"):
        for transform, words in ((True, "inner products"), (False, "angles only")):
            cells = [cell(family, policy, transform) for family in families]
            rows.append([f"{policy}, {words}", *cells])
    return table(["", "SimHash", "WTA", "DWTA", "MinHash"], rows)


def xmc(result):
    quality = ["P@1", "P@3", "P@5", "PSP@1", "PSP@5", "nDCG@5"]
    recall = ["R@5 head", "R@5 torso", "R@5 tail"]
    costs = [("train_s", 1), ("predict_s", 2), ("peak_mb", 0), ("model_mb", 0)]
    data = result["dataset"]
    shape = (
        f"{data['n_train']:,} training rows, {data['n_test']:,} test rows, "
        f"{data['n_features']:,} features, {data['n_labels']:,} labels."
    )
    columns = [(key, 3) for key in quality]
    first = system_table(result["systems"], quality, columns)
    head = [*recall, "training, s", "prediction, s", "peak, MB", "model, MB"]
    columns = [(key, 3) for key in recall] + costs
    return "\n\n".join([shape, first, system_table(result["systems"], head, columns)])


def scale(result):
    def predicted(row):
        return row["predict_s"] if "P@1" in row else None

    head = ["µs per sample", "× slide", "peak, MB", "prediction, s", "P@1", "P@5"]
    columns = [("us_per_sample", 1), ("times", 1), ("peak_mb", 0), ("predict_s", 1)]
    columns += [("P@1", 3), ("P@5", 3)]
    ours = result["systems"]["default"]["us_per_sample"]
    systems = {
        # A system without quality predicted no rows, so its `predict_s` means nothing.
        key: {**row, "times": row["us_per_sample"] / ours, "predict_s": predicted(row)}
        for key, row in result["systems"].items()
    }
    first = system_table(systems, head, columns)
    rows = [
        [f"{int(n):,}", *(number(row[key]["us_per_sample"], 1) for key in row)]
        for n, row in result["classes"].items()
    ]
    peers = next(iter(result["classes"].values()))
    second = table(["classes", *(f"{SYSTEMS[key]}, µs" for key in peers)], rows)
    return "\n\n".join([f"**{result['width']:,} classes**", first, "**Growth**", second])


def text(result):
    rows = []
    for key, row in result["systems"].items():
        for point in row.get("curve", []):
            columns = [("epochs", 3), ("train_s", 1), ("loss", 3)]
            rows.append([SYSTEMS[key], *figures(point, columns)])
    systems = system_table(
        result["systems"], ["µs per sample", "peak, MB"], [("us_per_sample", 1), ("peak_mb", 0)]
    )
    return "\n\n".join([systems, table(["", "epochs", "training, s", "held-out loss"], rows)])


def predict(result):
    rows = []
    for problem in result["problems"]:
        name = f"{problem['classes']:,}"
        exact = number(problem["exact_ms_per_row"], 3)
        rows.append([name, "exact", exact, "1.0", "1", "1", "–"])
        for row in problem["lsh"]:
            if row["is_exact"]:
                continue
            rows.append(
                [
                    name,
                    f"{row['n_candidates']}",
                    *figures(row, [("ms_per_row", 3), ("speedup", 1)]),
                    *figures(row, [("recall_at_1", 3), ("recall_at_5", 3)]),
                    f"{problem['index_mib']:.1f} MiB, {problem['build_s']:.2f} s",
                ]
            )
    head = ["classes", "`n_candidates`", "ms per row", "× exact", "recall@1", "recall@5", "codes"]
    return table(head, rows)


def threads(result):
    columns = [("speed_up", 2), ("fit_speed_up", 2), ("us_per_sample", 1), ("accuracy", 4)]
    rows = [
        [PROBLEMS[name], n, *figures(row, columns)]
        for name, runs in result["problems"].items()
        for n, row in runs.items()
    ]
    head = ["", "threads", "× one, passes", "× one, all of `fit`", "µs per sample", "accuracy"]
    parts = [table(head, rows)]
    if "lines" in result:
        counts = [
            [n, f"{row['raced']:,}", f"{row['owned']:,}"] for n, row in result["lines"].items()
        ]
        head = ["threads", "lines of several threads, if they raced", "with owners"]
        parts += ["Three layers of 1,000 neurons, 5 % active, a step:", table(head, counts)]
    return "\n\n".join(parts)


def tables(result):
    rows = [
        [name, *(number(seconds, 3) for seconds in runs.values())]
        for name, runs in result["seconds"].items()
    ]
    counts = next(iter(result["seconds"].values()))
    head = ["", *(f"{n} thread{'s' * (n != '1')}, s" for n in counts)]
    shape = (
        f"{result['tables']} tables of 2^{result['bits']} buckets over {result['neurons']:,} "
        f"neurons with {result['inputs']} inputs."
    )
    return f"{shape}\n\n{table(head, rows)}"


def kernels(result):
    limits = result["limits"]
    said = (
        f"The limits of this machine: {limits['triad_gb_s']:.0f} GB/s (STREAM's triad), "
        f"{limits['sgemm_gflop_s']:.0f} GFLOP/s (a dense product in float32)."
    )
    columns = [("gb_s", 1), ("bandwidth", 2), ("gflop_s", 0), ("arithmetic", 2)]
    rows = [
        [row["kernel"], row["place"], str(row["n"]), *figures(row, columns)]
        for row in result["kernels"]
        if row["n"] in (1, 8, 64)
    ]
    head = ["kernel", "rows in", "vectors", "GB/s", "× such reads", "GFLOP/s", "× dense product"]
    return f"{said}\n\n{table(head, rows)}"


# ------------------------------------------------------------------ plots --


def save(plot, result, path):
    figure = plot(result)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def plot_widths(result):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
    sparse = [row for row in result["networks"] if not row["dense"]]
    dense = [row for row in result["networks"] if row["dense"]]
    sizes = [row["width"] for row in sparse]
    for key, label, style in (
        ("multiply_adds_growth", "multiplications", "o-"),
        ("us_per_sample_growth", "time of a sample", "s--"),
        ("width_growth", "width", ":"),
    ):
        left.loglog(sizes, [row[key] for row in sparse], style, label=label)
    left.set(xlabel="neurons", ylabel="× that of the narrowest", title="Cost")
    left.legend(frameon=False)
    right.semilogx(sizes, [row["accuracy"] for row in sparse], "o-", color=OURS, label="50 active")
    for row in dense:
        right.plot(row["width"], row["accuracy"], "D", color=PEERS, label="dense")
    right.set(xlabel="neurons", ylabel="test accuracy", title="Accuracy")
    right.legend(frameon=False)
    return figure


def plot_scale(result):
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    styles = {
        "default": ("o-", OURS),
        "torch-bf16-huge": ("s--", PEERS),
        "torch-huge": ("^:", PEERS),
    }
    for key, (style, color) in styles.items():
        points = [(int(n), row[key]["us_per_sample"]) for n, row in result["classes"].items()]
        axes.loglog(*zip(*points, strict=True), style, color=color, label=SYSTEMS[key])
    axes.set(xlabel="classes", ylabel="µs per training sample")
    axes.legend(frameon=False)
    return figure


def plot_text(result):
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    for key, row in result["systems"].items():
        if "curve" in row:
            points = [(point["train_s"], point["loss"]) for point in row["curve"]]
            style = "s--" if key.startswith("torch") else "o-"
            axes.semilogx(*zip(*points, strict=True), style, label=SYSTEMS[key].replace("`", ""))
    axes.set(xlabel="seconds of training", ylabel="held-out loss")
    axes.legend(frameon=False)
    return figure


def plot_predict(result):
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    for problem in result["problems"]:
        rows = [row for row in problem["lsh"] if not row["is_exact"]]
        if rows:
            rows.sort(key=lambda row: row["speedup"])
            x, y = [[row[key] for row in rows] for key in ("speedup", "recall_at_5")]
            axes.plot(x, y, "o-", label=f"{problem['classes']:,} classes")
    axes.set(xlabel="times as fast as exact prediction", ylabel="recall@5 of the exact best")
    axes.legend(frameon=False)
    return figure


def plot_xmc(result):
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    groups = [("R@5 head", "head"), ("R@5 torso", "torso"), ("R@5 tail", "tail")]
    keys = [key for key in ("slide", "network", "pecos", "napkinxc") if key in result["systems"]]
    for i, key in enumerate(keys):
        places = [j + 0.2 * i for j in range(len(groups))]
        axes.bar(places, [result["systems"][key][g] for g, _ in groups], 0.18, label=SYSTEMS[key])
    axes.set_xticks([j + 0.1 * (len(keys) - 1) for j in range(len(groups))])
    axes.set_xticklabels(
        [f"{name}\n({result['dataset']['groups'][name]:,} labels)" for _, name in groups]
    )
    axes.set(ylabel="recall of the five best", title="Frequent and rare labels")
    axes.legend(frameon=False)
    return figure
