"""One unbroken run of the tiny study, for all tests that compare with it."""

import pytest
from tiny_run import kill_test, options, tiny_checkout


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder that holds `source`, a checkout, and `unbroken`, where its table was made."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_checkout(folder / "source")
    kill_test.unbroken_run(folder / "source", folder / "unbroken", options(folder))
    return folder
