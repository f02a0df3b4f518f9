"""Tables in CSV files: names, classes, parts, and messages that name the cell."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import datasets

ROWS = [f"{n},{n / 2},{'owl' if n % 4 == 0 else 'cat'},{n % 3}" for n in range(1, 41)]


def written(tmp_path, *lines):
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "t.csv"


def test_rows_columns_and_classes_are_those_of_the_file(tmp_path):
    path = written(tmp_path, "id,size,kind,age", *ROWS)
    train, test = datasets.csv_table(path, target="kind", leave_out=["id"])
    assert train.classes == test.classes == ("cat", "owl")
    assert (train.inputs.dtype, train.inputs.shape, test.inputs.shape) == (np.float32, (32, 2), (8, 2))
    assert np.bincount(test.targets).tolist() == [6, 2]
    both = np.concatenate([train.inputs, test.inputs])
    n = (2 * both[:, 0]).astype(int)
    assert sorted(n) == [*range(1, 41)]
    np.testing.assert_array_equal(both[:, 1], n % 3)
    np.testing.assert_array_equal(np.concatenate([train.targets, test.targets]), n % 4 == 0)


def test_without_target_the_last_column_has_the_classes_as_whole_numbers_by_size(tmp_path):
    lines = [f"{n},{10 * (n % 3)}{'.0' if n % 2 else ''}" for n in range(30)]
    train, _ = datasets.csv_table(written(tmp_path, *lines))
    assert train.classes == ("0", "10", "20")
    np.testing.assert_array_equal(train.targets, train.inputs[:, 0] % 3)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_delimiters_a_mark_of_order_and_empty_lines(tmp_path, mark):
    lines = [row.replace(",", mark) for row in ["id,size,kind,age", *ROWS]]
    train, _ = datasets.csv_table(written(tmp_path, "\ufeff" + lines[0], *lines[1:], "", mark * 3), target="kind")
    assert train.inputs.shape == (32, 3)


def test_the_seed_draws_the_rows_for_the_test(tmp_path):
    path = written(tmp_path, "id,size,kind,age", *ROWS)
    drawn = [datasets.csv_table(path, target="kind", seed=seed)[1].inputs[:, 0].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("shape", "options"), [("{}.5", {}), ("{}", {"numbers": True})])
def test_numbers_are_targets_with_no_classes(tmp_path, shape, options):
    """Numbers that are not whole, or are said to be numbers; the seed draws the rows for the test."""
    path = written(tmp_path, "size,price", *(f"{n},{shape.format(n)}" for n in range(20)))
    train, test = datasets.csv_table(path, **options)
    assert (train.classes, test.classes, len(train), len(test)) == ((), (), 16, 4)
    assert train.targets.dtype == np.float32
    half = 0.0 if options else 0.5
    np.testing.assert_array_equal(train.targets, train.inputs[:, 0] + half)
    both = np.concatenate([train.inputs, test.inputs])[:, 0]
    assert sorted(both) == [*range(20)] != both.tolist()
    assert datasets.csv_table(path, seed=1, **options)[1].inputs.tolist() != test.inputs.tolist()
    few = written(tmp_path, "size,price", "1,2.5", "2,3.5")
    assert [len(part) for part in datasets.csv_table(few, test_share=0.9)] == [1, 1]


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["a,b", "1,x", "2"], {}, "line 3 has 1 cells, and the first line 2"),
        (["a,b", "1,x", ",y"], {}, "line 3, 'a': '' is no finite number; fill the cell"),
        (["a,b", "1,x", "red,y"], {}, "line 3, 'a': 'red' is no finite number; leave the column out"),
        (["a,b", "1,x", "nan,y"], {}, "line 3, 'a': 'nan' is no finite"),
        (["a,b", "1,x", "2,"], {}, "column 'b' has rows without a class"),
        (["a,b", "1,0.5", "2,1"], {"numbers": False}, "column 'b' has numbers such as 0.5, which are no classes"),
        (["a,b", "1,7", "2,8", "3,8"], {}, "class '7' has 1 rows, .* if these are numbers to predict: numbers=True"),
        (["a,b", "1,7", "2,old"], {"numbers": True}, "line 3, 'b': 'old' is no finite number"),
        (["b", "x", "y"], {}, "no column beside 'b'"),
        (["a,b"], {}, "has 0 rows of data"),
        ([""], {}, "has 0 rows of data"),
        (["a,b", "1,x", "2,y", "3,y"], {}, "class 'x' has 1 rows"),
        (["a,b", "1,x", "2,x"], {"target": "kind"}, "unknown column 'kind'"),
        (["a,b", "1,x", "2,x"], {"leave_out": ["c"]}, "unknown column 'c'"),
        (["a,b", "1,x", "2,x"], {"test_share": 1.0}, "test_share=1.0"),
        (["a,b", "1,x", "2,x"], {"max_bytes": 3}, "max_bytes=3"),
        (["a,b", "1,x", "2,x"], {"path": "nowhere.csv"}, "nowhere.csv: cannot be read: No such file"),
    ],
)
def test_what_is_no_such_table_is_refused_by_line_and_column(tmp_path, lines, options, message):
    with pytest.raises(datasets.DataError, match=message):
        datasets.csv_table(**{"path": written(tmp_path, *lines), **options})


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00,1\n")
    with pytest.raises(datasets.DataFileError, match="is no CSV file in UTF-8"):
        datasets.csv_table(tmp_path / "t.csv")
