"""A process that trains: `train_process.py CASES`, a JSON list of arguments of `train.run`.

An argument `trap` makes a signal come at a chosen moment, as a machine would send it:
    signal: its name; with SIGKILL nothing of the process is left to clean up.
    step: which step's it is, from 1.
    when: `update`, before the weights of that step change; `done`, after it; `saving`, when half
        of the state after that step is written.
    rank: which process gets it; 0 where it is not said.
    group: true: all processes of the session get it, those that read crops as well.
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

import torch

from hermes import train
from hermes.train import loop as training_loop
from hermes.train.optim import Lamb


def fall(trap: dict) -> None:
    """The signal comes."""
    if int(os.environ.get("RANK", "0")) == trap.get("rank", 0):
        send = os.killpg if trap.get("group") else os.kill
        send(os.getpid(), signal.Signals[trap["signal"]])


def set_trap(trap: dict) -> None:
    """Let the signal come at its moment."""
    step, update, save = training_loop.train_step, Lamb.step, torch.save
    now = [0]

    def counted_step(progress, *rest):
        now[0] = progress.step + 1
        step(progress, *rest)
        if trap["when"] == "done" and now[0] == trap["step"]:
            fall(trap)

    def trapped_update(optimizer):
        if trap["when"] == "update" and now[0] == trap["step"]:
            fall(trap)
        return update(optimizer)

    def trapped_save(state, file):
        if trap["when"] == "saving" and now[0] == trap["step"]:
            whole = io.BytesIO()
            save(state, whole)
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.flush()
            fall(trap)
        save(state, file)

    training_loop.train_step, Lamb.step, torch.save = counted_step, trapped_update, trapped_save


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "RANK" in os.environ:  # one group for all cases
        torch.distributed.init_process_group("gloo")
    for case in json.loads(Path(sys.argv[1]).read_text()):
        if trap := case.pop("trap", None):
            set_trap(trap)
        train.run(**case)
