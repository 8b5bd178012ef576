"""The same machine gives the same bytes, however many cores and loader processes there are."""

import subprocess
import sys

import pytest
from tiny_run import ROOT, kill_test, options, same_bytes, tiny_checkout

pytest_plugins = ["tiny_run_fixtures"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cores", "workers"), [pytest.param(1, 0, marks=pytest.mark.whole), (4, 2)]
)
def test_neither_cores_nor_processes_change_a_byte(tiny, tmp_path, cores, workers):
    """The other run, of two cores, had one process a stage, in which a training read its crops."""
    folder = tiny_checkout(tmp_path / "checkout")
    study = folder / "config" / "studies" / "tiny.yaml"
    if workers:
        text = f"workers: {workers}\n" + study.read_text()
        study.write_text(text.replace("train:\n", f"train:\n  workers: {workers}\n"))
    kill_test.follow(folder, options(folder, "--cores", str(cores)))
    found = []
    for part in kill_test.MADE:
        ours, theirs = (root / part / "tiny" for root in (folder, tiny / "unbroken"))
        assert len(same_bytes.compared(theirs)) > 20
        found += same_bytes.differences(ours, theirs)
    # model.json tells how many there were
    assert [line for line in found if not workers or not line.endswith("/model.json")] == []


def test_two_folders_are_compared_but_for_what_tells_of_a_run(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, text in ((one, "1"), (other, "2")):
        (folder / "models").mkdir(parents=True)
        for name in ("table2.csv", "table2.md", "models/a.json"):
            (folder / name).write_text("same")
        for name in ("table1.csv", "table2.json"):
            (folder / name).write_text(text)
    assert same_bytes.differences(one, other) == []
    (one / "table2.md").write_text("other")
    (one / "models" / ".vm.1.b").touch()
    assert same_bytes.differences(one, other) == [
        f"only in {one}: models/.vm.1.b",
        "differs: table2.md",
    ]
    script = [sys.executable, str(ROOT / "workflow" / "scripts" / "same_bytes.py")]
    done = subprocess.run([*script, str(one), str(other)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == same_bytes.differences(one, other)
    done = subprocess.run([*script, str(one), str(one)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "4 files, the same bytes\n")
