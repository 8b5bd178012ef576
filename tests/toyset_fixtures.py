"""Fixtures of the download tests."""

import pytest
from loopback import Site, serve
from toyset import Dataset


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Site()) as running:
        yield running


@pytest.fixture
def toy(tmp_path):
    return Dataset(tmp_path)
