"""Bars of jobs that share a terminal: one at a time, and lines stay whole."""

import errno
import fcntl
import logging
import os
import pty
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest

from hermes.jobs.bars import ERASE, Bar, barred

ROOT = Path(__file__).parents[1]
TWO_JOBS = """
    import logging, subprocess, sys
    from hermes.jobs.bars import Bar, LineHandler
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LineHandler()])
    if len(sys.argv) > 1:  # a second job on the same terminal
        with Bar("second", 2, "step", every_s=0.0) as bar:
            bar.update()
            logging.info("line of the second")
        sys.exit()
    with Bar("first", 2, "step") as bar:
        bar.update()
        subprocess.run([sys.executable, __file__, "second"], check=True)
    with Bar("third", 2, "step") as bar:
        bar.update()
"""


def watched(script: Path) -> str:
    """What a terminal gets of a script."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    job = subprocess.Popen([sys.executable, str(script)], stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the last writer has left
        pass
    os.close(ours)
    assert job.wait(60) == 0
    return shown.decode()


def test_one_job_at_a_time_has_a_bar_and_lines_take_its_place(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text(textwrap.dedent(TWO_JOBS))
    shown = watched(script)
    assert "first:" in shown and "third:" in shown
    assert "second: 1 of 2 steps" in shown  # a line, for the bar is the first one's
    assert "second:  " not in shown
    assert f"{ERASE}line of the second\r\n" in shown


def test_without_a_terminal_there_are_lines_now_and_then(caplog, capfd):
    caplog.set_level(logging.INFO)
    assert list(barred("abc", Bar("convert", 3, "case", every_s=0.0))) == ["a", "b", "c"]
    assert caplog.messages == ["convert: 1 of 3 cases", "convert: 2 of 3 cases"]
    caplog.clear()
    list(barred("abc", Bar("convert", 3, "case")))
    assert not caplog.messages
    assert "convert" not in capfd.readouterr().err


def test_a_bar_that_an_error_leaves_gives_the_terminal_back(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, open(ours, "rb"):
        monkeypatch.setattr(sys, "stderr", terminal)
        with pytest.raises(KeyError), Bar("first", 2, "step"):
            raise KeyError
        with Bar("second", 2, "step") as bar:
            assert not bar._bar.disable
            with Bar("third", 2, "step") as other:
                assert other._bar.disable


def test_a_terminal_that_cannot_be_locked_has_its_bar(monkeypatch):
    def refused(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, open(ours, "rb"):
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(fcntl, "flock", refused)
        with Bar("first", 2, "step") as bar:
            assert not bar._bar.disable
