"""Values per axis, of which there are always three."""

from collections.abc import Iterable
from typing import TypeVar

Value = TypeVar("Value")

Box = tuple[slice, slice, slice]
"""A part of a volume."""


def triple(values: Iterable[Value]) -> tuple[Value, Value, Value]:
    """The values of the three axes, in their order.

    Raises:
        ValueError: when there are not three.
    """
    first, second, third = values
    return first, second, third
