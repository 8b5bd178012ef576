"""Pieces of sentences: counts, some of many names, remarks that share a line."""

import pytest

from hermes.words import counted, joined, parted, some


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (1200, "1,200 cases")]
)
def test_how_many(number, text):
    assert counted(number, "case") == text


def test_some_of_many():
    names = [f"c{i}" for i in range(2003)]
    assert some(names[:2]) == "c0, c1"
    assert some(names, 3) == "c0, c1, c2 and 2,000 more"
    assert some([]) == ""


@pytest.mark.parametrize(
    ("remarks", "read"),
    [
        ([], []),
        (["one"], ["one"]),
        (["one", "two"], ["one", "two"]),
        (["named by a; b ;c", "two;"], ["named by a, b,c", "two,"]),
        (["a\ttab\nand lines"], ["a tab and lines"]),
    ],
)
def test_remarks_come_out_of_their_line_as_they_went_in(remarks, read):
    assert parted(joined(remarks)) == read
