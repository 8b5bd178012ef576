"""Values per axis."""

import pytest

from hermes.axes import triple


def test_there_are_three_axes():
    assert triple(range(3)) == (0, 1, 2)
    for count in (2, 4):
        with pytest.raises(ValueError, match="values to unpack"):
            triple(range(count))
