"""What can hardly be: grey values no modality has, and one spacing where scans differ."""

import pytest

from hermes.convert.plausible import implausible, one_spacing


@pytest.mark.parametrize(
    ("modality", "low", "high", "word"),
    [
        ("ct", -1024, 3071, None),
        ("ct", 0, 4095, "offset"),
        ("ct", 0, 255, "window"),
        ("ct", -2.5, 6, "rescaled"),
        ("pet", 0, 35, None),
        ("pet", 0, 320, None),
        ("pet", 0, 32000, "Bq/ml"),
        ("t1", 0, 900, None),
        ("t2", -1000, 2000, "Hounsfield"),
        ("unknown", -1000, 2000, None),
    ],
)
def test_values_that_a_modality_does_not_have(modality, low, high, word):
    oddity = implausible(modality, float(low), float(high))
    assert (oddity is None) if word is None else (word in oddity.what)


@pytest.mark.parametrize(("count", "odd"), [(4, False), (5, True), (500, True)])
def test_one_spacing_of_enough_cases_is_odd(count, odd):
    spacings = [(3, 0.78, 0.78)] * count
    assert bool(one_spacing(spacings)) == odd
    assert not one_spacing([*spacings, (3, 0.78, 0.79)])


def test_headers_that_round_are_alike_whatever_the_unit():
    spacings = [(3, 0.78, 0.78), (3, 0.7803, 0.78), (3.001, 0.78, 0.7798)] * 2
    assert one_spacing(spacings).startswith("all 6 cases have the spacing 3 0.78 0.78 mm (z y x)")
    assert one_spacing([[mm / 100 for mm in axes] for axes in spacings])
