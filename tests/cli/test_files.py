"""Tests of the files of a command: no input is lost, and pipes will do where files do."""

import bz2
import gzip
import json
import os
import subprocess
import sys
import threading

import pytest

from slide import SparseMLPClassifier, __version__
from slide._cli.commands import main

DATA = b"3 4 3\n0 1:1\n1 2:1\n2 3:1\n"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of POSIX")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    SparseMLPClassifier((4,), max_iter=1, random_state=0).fit(
        [[1.0, 0, 0, 0], [0, 1, 0, 0]], [[1, 0, 0], [0, 1, 1]]
    ).save(path)
    return path.read_bytes()


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, model):
    """Run a command in a folder with data and a model; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name, content in (("data", DATA), ("other", DATA), ("model", model)):
        (tmp_path / name).write_bytes(content)

    def run(line, stdin=os.devnull):
        with open(stdin) as file, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", file)
            code = main(line.split())
        return code, *capfd.readouterr()

    return run


def feed(path, content):
    """Make a named pipe that gives this content once."""
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return path


# ------------------------------------------------------------- nothing is lost --


@pytest.mark.parametrize("way", ["same", "./same", "folder/../same", "hard", "soft", "chain"])
@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("train same {} --epochs 1", ("DATA", "MODEL")),
        ("train other {} --validation same --epochs 1", ("--validation", "MODEL")),
        ("predict model same --output {}", ("DATA", "--output")),
        ("predict same data --output {}", ("MODEL", "--output")),
    ],
)
def test_what_is_read_is_never_written(way, line, names, run, tmp_path, model):
    content = model if line.startswith("predict same") else DATA
    (tmp_path / "same").write_bytes(content)
    (tmp_path / "folder").mkdir()
    os.link("same", "hard")
    os.symlink("same", "soft")
    os.symlink("soft", "chain")
    code, out, err = run(line.format(way))
    assert (code, out) == (1, "")
    assert "are one file" in err and err.count("\n") == 1
    for name in names:
        assert name in err
    assert (tmp_path / "same").read_bytes() == content


def test_stdin_and_stdout_count_as_files(run, tmp_path, model):
    code, _, err = run("train - data --epochs 1", stdin="data")
    assert code == 1 and "DATA and MODEL (data) are one file" in err
    for line, end in (("predict model data", "data"), ("evaluate model data", "model")):
        code, _, err = shell(f"$S {line} >> {end}")
        assert code == 1
        assert f"({end}) and " in err and " are one file; write to another" in err
    assert (tmp_path / "data").read_bytes() == DATA
    assert (tmp_path / "model").read_bytes() == model


def test_a_pipe_is_no_output_of_its_own_input(run):
    os.mkfifo("pipe")
    code, _, err = run("predict model pipe --output pipe")
    assert code == 1 and "DATA (pipe) and --output (pipe) are one file" in err


def test_a_model_must_be_a_file(run, tmp_path):
    assert "MODEL must be a file; got -" in run("train data - --epochs 1")[2]
    assert not (tmp_path / "-").exists()
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        code, _, err = shell(f"$S train data {name} --epochs 1 > printed")
        assert code == 1 and f"MODEL must be a file; got {name}" in err
    code, _, err = shell("$S train data printed --epochs 1 > printed")
    assert code == 1 and "MODEL (printed) and stdout are one file" in err


# ----------------------------------------------------------------------- pipes --


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_every_input_may_be_a_pipe(pack, run, tmp_path, model):
    expected = run("evaluate model data --k 1 --json --train other")
    figures = {**json.loads(expected[1]), "seconds": 0}
    for name in ("model", "data", "other"):
        os.rename(name, f"old_{name}")
        feed(tmp_path / name, model if name == "model" else pack(DATA))
    code, out, err = run("evaluate model data --k 1 --json --train other")
    assert (code, err) == (0, "")
    assert {**json.loads(out), "seconds": 0} == figures


def test_training_rows_may_come_from_pipes(run, tmp_path):
    for name in ("data", "other"):
        os.remove(name)
        feed(tmp_path / name, DATA)
    code, out, err = run("train data new --validation other --epochs 1 --hidden 4")
    assert (code, err) == (0, "")
    assert "other: P@1" in out


@pytest.mark.parametrize(
    "line", ["evaluate model -", "evaluate model data --train -", "predict - data", "train - new"]
)
def test_a_dash_is_stdin(line, run):
    more = " --epochs 1 --hidden 4" if line.startswith("train") else ""
    code, _, err = run(line + more, stdin="model" if line.startswith("predict") else "data")
    assert (code, err) == (0, "")


def test_stdin_is_read_only_once(run):
    for line in ("evaluate model - --train -", "evaluate - -", "train - new --validation -"):
        code, _, err = run(line, stdin="data")
        assert code == 1 and "are one pipe, which can be read only once" in err
    os.mkfifo("pipe")
    assert "DATA (pipe) and --train (pipe) are one" in run("evaluate model pipe --train pipe")[2]


def test_a_closed_stdin(run, monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin", None)
    assert main(["evaluate", "model", "-"]) == 1
    assert "stdin, which - stands for, is closed" in capfd.readouterr().err


def test_a_broken_model_from_a_pipe_is_named_by_the_pipe(run):
    code, _, err = run("predict - data", stdin="data")
    assert code == 1 and "error: stdin is no model that can be loaded" in err


def test_output_to_pipes_devices_and_descriptors(run, tmp_path):
    expected = run("predict model data")[1]
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert run(f"predict model data --output {name}") == (0, expected, "")
    assert run("predict model data --output /dev/stderr") == (0, "", expected)
    assert run("predict model data --output /dev/null") == (0, "", "")
    with open("file", "w+") as file:
        file.write("before\n")
        file.flush()
        assert run(f"predict model data --output /dev/fd/{file.fileno()}") == (0, "", "")
        file.seek(0)
        assert file.read() == "before\n" + expected
    assert "must be an open file descriptor" in run("predict model data --output /dev/fd/987")[2]
    os.mkfifo("pipe")
    found = []
    thread = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    thread.start()
    assert run("predict model data --output pipe") == (0, "", "")
    thread.join()
    assert found == [expected]


# ------------------------------------------------------- closed and full outputs --


def shell(line):
    """Run a line of the shell in which $S is the command."""
    environment = {
        **os.environ, "S": f"{sys.executable} -m slide",
        "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
    }  # fmt: skip
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line", ["predict model data", "evaluate model data", "train data new"])
def test_a_closed_stdout_is_an_error_before_the_work(line, run, tmp_path):
    code, _, err = shell(f"$S {line} >&-")
    assert code == 1
    assert "error: stdout is closed" in err and err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_closed_stdout_that_is_not_needed(run, tmp_path):
    assert shell("$S predict model data --output new >&- 2>&- <&-")[0] == 0
    assert (tmp_path / "new").read_text().count("\n") == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("predict model data > /dev/full", "'stdout'"),
        ("evaluate model data > /dev/full", "'stdout'"),
        ("--help > /dev/full", "'stdout'"),
        ("predict model data --output /dev/full", "'/dev/full'"),
    ],
)
def test_a_full_disk_is_one_line(line, name, run):
    code, _, err = shell(f"$S {line}")
    assert code == 1
    assert "No space left on device" in err and name in err and err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_model_is_saved_even_if_nothing_can_be_printed(run):
    code, _, err = shell("$S train data new --epochs 2 --hidden 4 > /dev/full")
    assert code == 1 and "No space left on device: 'stdout'" in err
    assert SparseMLPClassifier.load("new").n_iter_ == 2


def test_names_are_printed_in_the_encoding_of_stdout(run):
    done = shell("PYTHONIOENCODING=ascii $S train data n\u00e9w --epochs 1 --hidden 4")
    assert done[0] == 0 and done[1].endswith("model in n\\xe9w\n")


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"slide {__version__}\n"
