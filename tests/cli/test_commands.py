"""Tests of the command line, mostly in this process."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from slide import SparseMLPClassifier
from slide._cli import commands
from slide._cli.commands import main
from slide._cli.reading import read_rows
from slide._prediction import lookup
from slide.datasets import load_xmc, make_extreme_classification
from slide.metrics import (
    label_propensities,
    ndcg_at_k,
    precision_at_k,
    psp_at_k,
    recall_at_k,
)


def write_xmc(path, X, Y):
    lines = [f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}"]
    for x, y in zip(X, Y, strict=True):
        features = " ".join(f"{j}:{v:.9g}" for j, v in zip(x.indices, x.data, strict=True))
        lines.append(",".join(map(str, y.indices)) + " " + features)
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with one problem, as training and test files in both formats."""
    folder = tmp_path_factory.mktemp("data")
    X, Y = make_extreme_classification(500, 200, 20, n_nonzero=20, n_labels=2, random_state=0)
    write_xmc(folder / "train.txt", X[:400], Y[:400])
    write_xmc(folder / "test.txt.gz", X[400:], Y[400:])
    X, y = make_extreme_classification(500, 200, 20, n_nonzero=20, random_state=0)
    names = 10 * y - 50
    dump_svmlight_file(X[:400], names[:400], str(folder / "train.svm"))
    # The file has fewer features than the training rows.
    dump_svmlight_file(X[400:][:, :150], names[400:], str(folder / "test.svm"))
    return folder


@pytest.fixture
def run(data, tmp_path, monkeypatch, capsys):
    """Run a command in a folder next to the data; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for path in data.iterdir():
        (tmp_path / path.name).symlink_to(path)

    def run_command(line):
        code = main(line.split())
        return code, *capsys.readouterr()

    return run_command


TRAIN = "train train.txt model --hidden 16 --epochs 3 --seed 0"


# ---------------------------------------------------------------- commands --


def test_train_writes_what_python_trains(run, assert_same_weights):
    code, out, err = run(TRAIN + " --validation test.txt.gz")
    assert (code, err) == (0, "")
    *epochs, validation, last = out.splitlines()
    assert [line.split(",")[0] for line in epochs] == [f"Iteration {i}" for i in (1, 2, 3)]
    assert validation.startswith("test.txt.gz: P@1 ")
    assert last.endswith("model in model")
    assert "samples/s" in last
    ours = SparseMLPClassifier((16,), max_iter=3, random_state=0).fit(*load_xmc("train.txt"))
    assert_same_weights(ours, SparseMLPClassifier.load("model"))


def test_evaluate_says_what_python_says(run):
    run(TRAIN)
    X, Y = load_xmc("test.txt.gz")
    ranked = SparseMLPClassifier.load("model").predict_topk(X, 5)[0]
    metrics = {"P": precision_at_k, "R": recall_at_k, "nDCG": ndcg_at_k}
    expected = {
        f"{name}@{k}": metric(Y, ranked, k) for name, metric in metrics.items() for k in (1, 3, 5)
    }
    code, out, _ = run("evaluate model test.txt.gz --json")
    figures = json.loads(out)
    assert code == 0
    assert figures.pop("seconds") >= 0
    assert figures == {**expected, "n_rows": 100}
    code, out, _ = run("evaluate model test.txt.gz --k 5 1")
    head, *table, last = out.splitlines()
    assert head.split() == ["@5", "@1"]
    rows = [
        [name, f"{expected[f'{name}@5']:.4f}", f"{expected[f'{name}@1']:.4f}"] for name in metrics
    ]
    assert [line.split() for line in table] == rows
    assert len({len(line) for line in (head, *table)}) == 1
    assert last.startswith("100 rows, ")


def test_evaluate_with_propensities(run):
    run(TRAIN)
    X, Y = load_xmc("test.txt.gz")
    propensities = label_propensities(load_xmc("train.txt")[1])
    ranked = SparseMLPClassifier.load("model").predict_topk(X, 5)[0]
    expected = [psp_at_k(Y, ranked, propensities, k) for k in (1, 5)]
    _, out, _ = run("evaluate model test.txt.gz --k 1 5 --train train.txt --json")
    figures = json.loads(out)
    assert [figures["PSP@1"], figures["PSP@5"]] == expected
    _, out, _ = run("evaluate model test.txt.gz --k 1 5 --train train.txt")
    assert out.splitlines()[-2].split() == ["PSP", *(f"{value:.4f}" for value in expected)]


def test_propensities_of_one_label_a_row(run, tmp_path):
    run("train train.svm model --hidden 16 --epochs 3 --seed 0")
    # A label without training rows, and one that only that file has, not the model.
    rows = (tmp_path / "test.svm").read_text().splitlines()[:50]
    (tmp_path / "new.svm").write_text("\n".join([*rows, "7777 1:1", "-8 0:1", ""]))
    seen = (tmp_path / "train.svm").read_text()
    (tmp_path / "seen.svm").write_text(seen + "-8 1:1\n")
    figures = json.loads(run("evaluate model new.svm --train seen.svm --k 1 2 --json")[1])

    model, test, train = (
        SparseMLPClassifier.load("model"), read_rows("new.svm"), read_rows("seen.svm"),
    )  # fmt: skip
    ranked = model.predict_topk(test.features(model.n_features_in_), 2)[0]
    classes = np.unique([*train.labels, *test.labels])
    indicators = [rows.labels[:, np.newaxis] == classes for rows in (test, train)]
    propensities = label_propensities(indicators[1])
    for k in (1, 2):
        psp = psp_at_k(indicators[0], np.searchsorted(classes, ranked), propensities, k)
        assert figures[f"PSP@{k}"] == pytest.approx(psp)
    assert 0 < figures["PSP@1"] < 1


def test_weight_dtype(run, assert_same_weights):
    assert run(f"{TRAIN} --weight-dtype bfloat16")[0] == 0
    ours = SparseMLPClassifier((16,), max_iter=3, random_state=0, weight_dtype="bfloat16")
    loaded = SparseMLPClassifier.load("model")
    assert loaded.weight_dtype == "bfloat16"
    assert_same_weights(ours.fit(*load_xmc("train.txt")), loaded)


def test_early_stopping_and_loss(run, assert_same_weights):
    line = f"{TRAIN} --early-stopping --validation-fraction 0.25 --loss softmax"
    _, out, _ = run(line)
    assert out.count("Validation score: ") == 3
    model = SparseMLPClassifier.load("model")
    ours = SparseMLPClassifier(
        (16,), loss="softmax", max_iter=3, random_state=0, early_stopping=True,
        validation_fraction=0.25,
    ).fit(*load_xmc("train.txt"))  # fmt: skip
    assert_same_weights(ours, model)
    assert model.validation_scores_ == ours.validation_scores_


def test_mode(run, monkeypatch):
    run(TRAIN)
    seen = []
    monkeypatch.setattr(lookup, "pays", lambda *args: seen.append(args) or False)
    for mode, n_looks in (("", 0), (" --mode exact", 0), (" --mode lsh", 1)):
        seen.clear()
        assert run("evaluate model test.txt.gz" + mode)[0] == 0
        assert run("predict model test.txt.gz" + mode)[0] == 0
        assert len(seen) == 2 * n_looks


def test_real_data(run, tmp_path):
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("SLIDE_DATA", beside)) / "mulan" / "bibtex.xmc.txt.gz"
    if not path.exists():
        pytest.skip(f"no data: {path} is not there; set SLIDE_DATA")
    X, Y = load_xmc(path)
    write_xmc(tmp_path / "part.txt", X[:1000], Y[:1000])
    write_xmc(tmp_path / "rest.txt", X[1000:1500], Y[1000:1500])
    assert run("train part.txt model --hidden 32 --epochs 3 --seed 1")[0] == 0
    figures = json.loads(run("evaluate model rest.txt --json")[1])
    ours = SparseMLPClassifier((32,), max_iter=3, random_state=1).fit(X[:1000], Y[:1000])
    ranked = ours.predict_topk(X[1000:1500], 1)[0]
    assert figures["P@1"] == precision_at_k(Y[1000:1500], ranked, 1)
    assert figures["P@1"] > 0.2


@pytest.mark.parametrize("output", ["-", "ranked.txt", "ranked.txt.gz"])
def test_predict(output, run, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "_BLOCK", 33)
    run(TRAIN)
    code, out, err = run(f"predict model test.txt.gz --k 3 --output {output} --threads 1")
    assert (code, err) == (0, "")
    if output != "-":
        assert out == ""
        out = (tmp_path / output).read_bytes()
        out = (gzip.decompress(out) if output.endswith(".gz") else out).decode()
    rows = [[pair.split(":") for pair in line.split(" ")] for line in out.splitlines()]
    labels, scores = SparseMLPClassifier.load("model").predict_topk(load_xmc("test.txt.gz")[0], 3)
    np.testing.assert_array_equal([[int(label) for label, _ in row] for row in rows], labels)
    np.testing.assert_allclose([[float(s) for _, s in row] for row in rows], scores, rtol=1e-5)


def test_one_label_a_row(run):
    assert run("train train.svm model --hidden 16 --epochs 5 --seed 0 --features 220")[0] == 0
    model = SparseMLPClassifier.load("model")
    assert model.n_features_in_ == 220
    assert model.classes_.dtype == np.int64
    figures = json.loads(run("evaluate model test.svm --json --k 1")[1])
    assert figures["P@1"] > 0.3
    labels = [int(line.split(":")[0]) for line in run("predict model test.svm --k 1")[1].split()]
    assert np.mean(labels == read_rows("test.svm").labels) == pytest.approx(figures["P@1"])
    code, _, err = run("evaluate model test.txt.gz")
    assert code == 1
    assert "test.txt.gz must have one label a row" in err


def test_few_classes_and_unknown_labels(run, tmp_path):
    (tmp_path / "a.svm").write_text("1 0:1\n2 1:1\n1 0:2\n2 1:2\n")
    (tmp_path / "b.svm").write_text("1 0:1\n3 1:1\n")
    assert run("train a.svm model --epochs 2")[0] == 0
    out = run("evaluate model b.svm")[1]
    assert out.split()[:2] == ["@1", "P"]
    assert out.split()[2].startswith("0.")
    assert len(run("predict model b.svm")[1].splitlines()[0].split(" ")) == 2
    assert "k must be" in run("predict model b.svm --k 3")[2]
    assert "k must be" in run("evaluate model b.svm --k 3")[2]


# ---------------------------------------------------------------- formats --


def test_formats(run, tmp_path):
    for text, shape, labels in (
        ("1 1:1 3:2\n", (1, 4), [1]),
        ("1,3 1:1\n 2:2\n", (2, 3), [[0, 1, 0, 1], [0, 0, 0, 0]]),
        ("-1 0:1\n2 1:1\n", (2, 2), [-1, 2]),
    ):
        for content in (text.encode(), gzip.compress(text.encode())):
            (tmp_path / "rows").write_bytes(content)
            rows = read_rows("rows")
            target = rows.target()
            assert rows.x.shape == shape
            found = target if target.ndim == 1 else target.toarray()
            np.testing.assert_array_equal(found, labels)
    (tmp_path / "rows").write_text("1 3 5\n4 0:1\n")
    assert read_rows("rows").target().shape == (1, 5)
    assert "line 1: a row is" in run("train rows model --format svmlight")[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows has no rows"),
        (b"1 x:1\n", "rows, line 1: a feature must be"),
        (b"cat 1:1\n", "rows, line 1: a label must be"),
        (b"1 2:1 1:1\n", "rows, line 1: the features of a row must rise"),
        (b"-1,2 1:1\n", "must be integers"),
        (b"1.5,2 1:1\n", "rows, line 1: a label must be an integer"),
        (b"1 1:1\n0.25 1:2\n", "rows, line 2: a label must be an integer of 64 bits; got '0.25'"),
        (b"1 1:nan\n2 1:1\n", "rows, line 1: a value must be a finite number; got '1:nan'"),
        (b"2 2 2\n0 0:1\n", "announces 2 rows"),
        (b"1 2 2\n0 7:1\n", "a feature must be"),
        (b"\x1f\x8b broken", "rows: damaged or truncated gzip file"),
        (gzip.compress(b"1 1:1\n" * 500, mtime=0)[:40], "rows"),
        (b"\xff\xfe\x00", "rows: it must be text, plain or compressed once; it is UTF-16"),
    ],
)
def test_malformed_data_is_one_line(content, message, run, tmp_path):
    (tmp_path / "rows").write_bytes(content)
    code, _, err = run("train rows model --epochs 1")
    assert code == 1
    assert err.startswith("slide train: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_a_name_that_is_no_text(run, tmp_path):
    """The command train succeeds, and prints what stdout can encode."""
    line = TRAIN.replace(" model ", " mod\udcff ") + " --validation test.txt.gz"
    code, out, err = run(line)
    assert (code, err) == (0, "")
    assert out.endswith("model in mod\\udcff\n")
    assert (tmp_path / "mod\udcff").exists()


# ----------------------------------------------------------------- errors --


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train nothing.txt model", "nothing.txt"),
        ("train train.txt none/model", "there is no folder"),
        ("train train.txt .", "not a plain file"),
        ("train train.txt model --validation nothing.txt", "nothing.txt"),
        ("train train.txt model --hidden 0", "hidden_layer_sizes must be"),
        ("train train.txt model --epochs 0", "max_iter must be"),
        ("train train.txt model --validation-fraction 2 --early-stopping", "validation_fraction"),
        ("train train.txt model --threads 0", "n_jobs must be"),
        ("train train.txt model --retrieval best", "retrieval must be"),
        ("train train.txt model --hidden 200 90 --active-fraction 2", "active_fraction must be"),
        ("train train.txt model --active-fraction 0.5 0.5 0.5", "active_fraction must have one"),
        ("train train.txt model --features 10", "has 200 features, the model takes 10"),
        ("train train.svm model --validation train.txt", "one label a row"),
        ("train train.txt model --learning-rate 1e30", "diverged"),
        ("predict train.txt test.txt.gz", "train.txt is no model that can be loaded"),
        ("predict nothing test.txt.gz", "nothing"),
        ("evaluate nothing test.txt.gz --json", "nothing"),
    ],
)
def test_errors_are_one_line(line, message, run, tmp_path):
    code, _, err = run(line)
    assert code == 1
    assert message in err
    assert err.startswith(f"slide {line.split()[0]}: error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_more_features_than_the_model_are_refused(run, tmp_path):
    run(TRAIN)
    (tmp_path / "wide.svm").write_text("1 500:1\n")
    for command in ("predict", "evaluate"):
        code, _, err = run(f"{command} model wide.svm")
        assert code == 1
        assert "wide.svm has 501 features, the model takes 200; train --features 501" in err


def test_a_failed_predict_leaves_the_old_file(run, tmp_path, monkeypatch):
    run(TRAIN)
    (tmp_path / "ranked").write_text("old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(commands, "_line", fail)
    assert "disk full" in run("predict model test.txt.gz --output ranked")[2]
    assert (tmp_path / "ranked").read_text() == "old"
    assert not list(tmp_path.glob(".*"))


def test_usage_errors_and_help(capsys):
    for line in ("", "learn", "train", "train a b --k 3", "train a b --epochs many"):
        with pytest.raises(SystemExit) as caught:
            main(line.split())
        assert caught.value.code == 2
    for command in ("train", "predict", "evaluate"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert f"python -m slide {command} " in text.split("example:")[1]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_interruptions_are_quiet(error, code, run, monkeypatch, tmp_path):
    def interrupt(*args, **kwargs):
        raise error

    monkeypatch.setattr(SparseMLPClassifier, "fit", interrupt)
    assert run(TRAIN) == (code, "", "")
    assert not (tmp_path / "model").exists()


def test_as_a_process(data, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}

    def start(*args, **kwargs):
        command = [sys.executable, "-m", "slide", *args]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **kwargs,
        )  # fmt: skip

    out, err = start("--help").communicate(timeout=60)
    assert "train" in out
    assert err == ""
    train = start("train", str(data / "train.txt"), "model", "--hidden", "8", "--epochs", "2")
    out, err = train.communicate(timeout=60)
    assert (train.returncode, err) == (0, "")
    assert out.count("Iteration") == 2
    # No process reads the pipe, and the output is larger than its buffer.
    predict = start("predict", "model", str(data / "train.txt"), "--k", "20")
    predict.stdout.close()
    assert predict.stderr.read() == ""
    assert predict.wait(timeout=60) == 141
    predict.stderr.close()
