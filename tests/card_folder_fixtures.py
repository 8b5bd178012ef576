"""Fixtures of the tests that hold a card against a folder."""

import fabricate
import pytest
from card_folder import NIFTI


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def card(tmp_path):
    return fabricate.write_card(tmp_path / "toy.yaml", [NIFTI])
