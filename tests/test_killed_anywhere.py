"""A whole run that is killed at random moments, again and again, ends with the same bytes."""

import pytest
from tiny_run import kill_test, options

pytest_plugins = ["tiny_run_fixtures"]


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_with_the_bytes_of_an_unbroken_one(tiny, capsys):
    """Killed outright, and told to stop as a batch system and a terminal do it."""
    given = options(
        tiny, "--kills", "6", "--seed", "3", "--signals", "KILL,KILL,TERM,KILL,KILL,INT"
    )
    status = kill_test.kill_test(tiny / "source", given)
    told = capsys.readouterr().out
    assert status == 0, told
    assert "6 of 6 kills" in told
    assert not list((tiny / "killed").rglob(".*.*.*.tsv"))


def test_moments_lie_in_every_part_of_a_run_and_the_same_seed_draws_them_again():
    ends = [1.0, 2.0, 2.5, 9.0, 10.0]  # four jobs; the run ends a second after the last
    drawn = kill_test.moments(ends, 5, seed=1)
    at = [([0.0, *ends])[moment.done] + moment.seconds for moment in drawn]
    assert [int(seconds // 2) for seconds in at] == [0, 1, 2, 3, 4]
    assert all(moment.seconds >= 0 for moment in drawn)
    assert drawn == kill_test.moments(ends, 5, seed=1)
    assert drawn != kill_test.moments(ends, 5, seed=2)
