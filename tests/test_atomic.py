"""Files are whole or absent: what is left aside is removed, and a full disk is told in one line."""

import errno
import os
import pickle
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hermes.files.atomic import _HOST, WriteError, remove_asides, writing, writing_folder
from hermes.files.masks import save_masks
from hermes.files.nifti import write_nifti
from hermes.files.records import Records
from hermes.files.store import save_case
from hermes.files.tables import write_tsv
from hermes.files.volume import Volume
from hermes.jobs.pool import run_cases

NOISE = np.random.default_rng(0).standard_normal((40, 40, 40)).astype(np.float32)


@pytest.fixture
def small_files():
    """No file grows beyond 20 kB, as on a full disk, until the test is over."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_state(path):
    with writing(path) as aside, open(aside, "wb") as file:
        torch.save({"noise": torch.from_numpy(NOISE)}, file)


def save_weights(path):
    with writing(path) as aside:
        save_file({"noise": torch.from_numpy(NOISE)}, aside)


def save_picture(path):
    with writing(path) as aside:
        Image.fromarray((NOISE[0] * 99).astype(np.uint8)).resize((900, 900)).save(aside)


WRITERS = {
    "table.tsv": lambda path: write_tsv(path, ["a"], [{"a": "x" * 30_000}]),
    "scan.nii.gz": lambda path: write_nifti(path, Volume(NOISE, np.eye(4))),
    "scan.nii": lambda path: write_nifti(path, Volume(NOISE, np.eye(4))),
    "case_image.b2nd": lambda path: save_case(path.parent, "case", NOISE, None, {}),
    "masks.b2nd": lambda path: save_masks(path, (NOISE[None] > 0).astype(np.uint8)),
    "state.pt": save_state,
    "model.safetensors": save_weights,
    "picture.png": save_picture,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_says_that_there_is_no_room(tmp_path, small_files, name):
    """Whatever error the library raises, the file of before stays and nothing lies beside it."""
    path = tmp_path / name
    path.write_bytes(b"before")
    with pytest.raises(WriteError) as error:
        WRITERS[name](path)
    text = str(error.value)
    assert text.startswith(f"{path}: cannot be written: files may not be larger on ")
    assert re.search(r"\([\d,]+ of [\d,]+ MB free\)", text)
    assert "\n" not in text
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_by_where_it_is_mounted(tmp_path, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)  # where a file system of a network says it
    with pytest.raises(WriteError, match=r"room.* on /.* run it again") as error:
        write_tsv(tmp_path / "a.tsv", ["a"], [])
    assert not list(tmp_path.iterdir())
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_other_errors_of_the_block_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), writing(tmp_path / "a"):
        raise RuntimeError("a bug")
    with pytest.raises(WriteError, match=rf"{tmp_path}/a/b: cannot be written: File exists"):
        (tmp_path / "a").touch()
        write_tsv(tmp_path / "a" / "b", ["a"], [])


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    folder = tmp_path / "raw"
    with writing_folder(folder) as aside:
        (aside / "one").touch()
    with pytest.raises(WriteError, match=f"^{folder}/two: cannot"), writing_folder(folder) as aside:
        (aside / "two").mkdir()
        write_tsv(aside / "two", ["a"], [])
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["raw", "raw/one"]


def test_what_killed_processes_left_aside_is_removed(tmp_path):
    """Of this machine and of processes that are no more; a living one may still be writing."""
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    dead = int(dead.stdout)
    gone = [f".{_HOST}.{dead}.b.tsv", f".{_HOST}.{dead}.raw"]
    kept = [f".{_HOST}.{os.getppid()}.b.tsv", f".elsewhere.{dead}.b.tsv", ".hidden", "b.tsv"]
    for name in [gone[0], *kept]:
        (tmp_path / name).touch()
    (tmp_path / gone[1] / "train").mkdir(parents=True)
    write_tsv(tmp_path / "a.tsv", ["a"], [])
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "a.tsv"}


def test_what_any_machine_left_aside_of_a_file_is_removed(tmp_path):
    gone = {f".{_HOST}.12.run.pt", ".elsewhere.7.run.pt"}
    kept = {"run.pt", ".here.12.other-run.pt", ".here.12.x.run.pt", ".here.a.run.pt"}
    for name in gone | kept:
        (tmp_path / name).touch()
    remove_asides(tmp_path / "run.pt")
    assert {path.name for path in tmp_path.iterdir()} == kept


def write_case(job):
    number, folder = job
    (folder / f"begun{number}").touch()
    if number == 1:
        with writing(folder / "case1"):
            raise OSError(errno.ENOSPC, "No space left on device")
    return number


def test_a_full_disk_ends_the_stage_and_rejects_no_case(tmp_path):
    jobs = {str(n): (n, tmp_path) for n in range(200)}
    with pytest.raises(WriteError, match="case1: cannot be written: no room is left"):
        run_cases(write_case, jobs, 2, "write", (OSError,))
    assert len(list(tmp_path.glob("begun*"))) < 100


def test_a_record_goes_before_its_case_is_made_anew(tmp_path):
    """Killed between its two files, a case is not taken for the one that the record tells of."""
    records = Records(tmp_path, lambda folder, case: (folder / case,), ("*",))
    (tmp_path / "a").write_text("old")
    records.remember("a", "old settings", {"is": "old"})
    assert records.recall("a", "old settings") == {"is": "old"}
    assert records.recall("a", "new settings") is None
    (tmp_path / "a").write_text("new")  # as long as before
    assert records.recall("a", "old settings") is None
