"""Tests of data files of the command line: every fault in our own words, with its line."""

import numpy as np
import pytest

from slide._cli.reading import read_rows

GOOD = b"1 1:1 2:1\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a content as the file "rows" of the current folder."""
    monkeypatch.chdir(tmp_path)

    def read(content, **kwargs):
        (tmp_path / "rows").write_bytes(content)
        return read_rows("rows", **kwargs)

    return read


FAULTS = {
    b"1 3:6.64e-0114:8.7e-01": "got '3:6.64e-0114:8.7e-01': is a space missing",
    b"1 1:1:1": "got '1:1:1': is a space missing, or a colon too many?",
    b"1 3: .5": "without spaces around the colon; got '3:'",
    b"1 3 :.5": "got '3' among the features, without a colon",
    b"1 310:1 150:1": "the features of a row must rise, each at most once; got 150 after 310",
    b"1 3:1 3:1": "the features of a row must rise, each at most once; got 3 after 3",
    b"1 18446744073709551557:1": "got '18446744073709551557'; if it is a hash, take it modulo",
    b"1 4294967296:1": "a feature must be an integer in [0, 2147483647); got '4294967296'",
    b"1 2147483647:1": "a feature must be an integer in [0, 2147483647); got 2147483647",
    b"1 -3:1": "a feature must be an integer from 0; got '-3:1'",
    b"1 1.0:1": "a feature must be an integer from 0; got '1.0:1'",
    b"1 red:1": "a feature must be an integer from 0; got 'red:1'; number the features",
    b"shoes 1:1": "a label must be an integer; got 'shoes'; number the labels from 0",
    b"1;2 1:1": "a label must be an integer; got '1;2'",
    b"nan 1:1": "a label must be an integer; got 'nan'",
    b"1_0 1:1": "a label must be an integer; got '1_0'",
    b"caf\xe9 1:1": "a label must be an integer; got 'caf",
    b"1,,2 1:1": "a label is missing before or after a comma",
    b"1 2 1:1": "got '2' among the features, without a colon",
    b"1 1:nan": "a value must be a finite number; got '1:nan'",
    b"1 1:-inf": "a value must be a finite number; got '1:-inf'",
    b"1 1:1e39": "a value must be a finite float32; got inf",
    b"1 1:1_0": "a value must be a finite number; got '1:1_0'",
    b"1 1:1\x00": "a value must be a finite number; got '1:1",
    b"1 1:1\r2 1:1": "a line must end in \\n or \\r\\n; got \\r without \\n within it",
    b"1 qid:x 1:1": "got 'qid:x'",
}


@pytest.mark.parametrize("bad", FAULTS)
def test_a_fault_is_named_with_its_line(bad, read):
    rows = GOOD * 40 + b"\n# a comment, and two lines that are no rows\n" + bad + b"\n" + GOOD * 9
    with pytest.raises(ValueError) as error:
        read(rows)
    assert str(error.value).startswith("rows, line 43: ")
    assert FAULTS[bad] in str(error.value)
    header = b"50 2147483647 5\n"
    with pytest.raises(ValueError, match=r"^rows, line 42: "):
        read(header + GOOD * 40 + bad + b"\n" + GOOD * 9)


def test_what_is_taken(read):
    rows = read(
        b"\xef\xbb\xbf# comment\r\n\r\n+1\t1:1\t2:.5\r\n"
        b"1e3 qid:7 0001:1e-3 # 3:4\r\n  2.0 +2:1.\r\n-4"
    )
    np.testing.assert_array_equal(rows.target(), [1, 1000, 2, -4])
    assert rows.labels.dtype == np.int64
    np.testing.assert_array_equal(
        rows.x.toarray(), np.float32([[0, 1, 0.5], [0, 1e-3, 0], [0, 0, 1], [0, 0, 0]])
    )
    np.testing.assert_array_equal(rows.counts, [1, 1, 1, 1])


def test_large_labels_stay_exact(read):
    large = [2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63) + 1]
    rows = read(b"".join(b"%d 1:1\n" % label for label in large))
    assert rows.target().tolist() == large


@pytest.mark.parametrize("label", [b"9223372036854775808", b"1e400", b"1.5", b"1e17"])
def test_labels_that_are_no_integers_are_refused_where_they_are_used(label, read):
    rows = read(GOOD + b"\n" + label + b" 1:1\n")
    assert rows.features(3).shape == (2, 3)
    for use in (rows.target, lambda: rows.target_for(False, 2), lambda: rows.target_for(True, 2)):
        with pytest.raises(ValueError, match=r"rows, line 3: a label must be an integer of 64 bit"):
            use()


@pytest.mark.parametrize(
    "header",
    [b"-3 4 5", b"three 4 5", b"9999999999999999999999 4 5", b"1.0 4 5", b"3 4 2147483648"],
)
def test_three_words_are_a_header(header, read):
    with pytest.raises(ValueError, match="rows, line 1: the header must be 'n_samples n_feat"):
        read(header + b"\n1 1:1\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"2 4 5\n1 1:1\n", "rows, line 2: the header announces 2 rows, the file has 1"),
        (b"1 4 5\n1 1:1\n\n1 1:1\n", "rows, line 4: more rows than the 1 that"),
        (b"3 4 5\n", "rows, line 1: the header announces 3 rows, the file has 0"),
        (b"0 4 5\n", "rows has no rows"),
        (b"", "rows has no rows"),
        (b"\n \n# comment\n", "rows has no rows"),
        (b"1,2,3\n4,5,6\n", "rows has no features; is it CSV?"),
    ],
)
def test_counts_that_are_wrong(content, words, read):
    with pytest.raises(ValueError) as error:
        read(content)
    assert words in str(error.value)


# ------------------------------------------------------ how many labels, features --


def test_a_label_out_of_proportion_is_named_with_its_line(read):
    for label in (1_000_000, 100_000_000):
        rows = read(b"3,7 1:1 2:1\n\n5 2:1\n3,%d 1:1\n" % label)
        with pytest.raises(ValueError, match=f"line 4: the label {label} is too large") as error:
            rows.target()
        assert "only 4 different labels occur" in str(error.value)
        assert f"--labels {label + 1} takes them" in str(error.value)
        assert rows.target(label + 1).shape == (3, label + 1)
        assert rows.target_for(True, label + 1).shape == (3, label + 1)


def test_a_header_out_of_proportion_is_refused(read):
    rows = read(b"2 5 500000000\n0,2 1:0.5 3:1\n1 0:2\n")
    with pytest.raises(ValueError, match="line 1: the header announces too many labels") as error:
        rows.target()
    assert "only 3 different labels occur" in str(error.value)
    assert "--labels 500000000" in str(error.value)
    assert rows.target(500_000_000).shape == (2, 500_000_000)


def test_the_head_of_a_large_data_set_is_taken(read):
    lines = b"".join(b"%d,%d 1:1\n" % (i, 2_812_280 - i) for i in range(500))
    assert read(b"500 9 2812281\n" + lines).target().shape == (500, 2_812_281)
    lines = b"".join(b"%d,%d 1:1\n" % (i, 100_000 - i) for i in range(200))
    assert read(lines).target().shape == (200, 100_001)


def test_given_numbers_of_labels(read):
    rows = read(b"0,2 1:1\n1 2:1\n")
    assert rows.target(9).shape == (2, 9)
    with pytest.raises(ValueError, match="rows has 3 labels, --labels says 2"):
        rows.target(2)
    with pytest.raises(ValueError, match="--labels is for data with several labels a row"):
        read(GOOD * 2).target(9)


def test_negative_labels_beside_several_are_named_with_their_line(read):
    rows = read(b"1,2 1:1\n-5 1:1\n")
    with pytest.raises(ValueError, match=r"rows, line 2: .* must be integers in .*; got -5"):
        rows.target()


def test_the_line_of_too_large_a_feature(read):
    rows = read(GOOD * 3 + b"\n1 123456789:1\n")
    with pytest.raises(ValueError, match="feature 123456789 is in line 5"):
        rows.features(10)
