"""Run a script in several processes, of this machine or of all machines of a SLURM job.

As `torchrun` does. Beyond it, the exit status says whether a stopped training can go on: 75 where a
process left with it or the group was told to stop, else 1 for any failure.
"""

import os
import socket
import sys
from typing import NoReturn

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # handed on to the processes
PATIENCE_S = 300  # ASSUME: a state of about 1 GB is saved by then on any disk
PORT = "HERMES_RANKS_PORT"  # of the first machine, where the launchers of all machines meet


def launch(ranks: int, threads: int, command: list[str], nodes: int = 1) -> int:
    """Run a Python script with its arguments `ranks` times; returns the exit status.

    Args:
        ranks: processes in all; every machine gets the same number.
        threads: of each process.
        command: the script and its arguments.
        nodes: machines, of the SLURM job that this is called in.
    """
    if ranks % nodes:
        print(f"{ranks} processes cannot be shared by {nodes} machines alike", file=sys.stderr)
        return 1
    if nodes > 1 and PORT not in os.environ:
        if "SLURM_JOB_ID" not in os.environ:
            told = f"nodes={nodes}, and this is no SLURM job: submit to a cluster (docs/slurm.md)"
            print(told, file=sys.stderr)
            return 1
        _launch_on_each(nodes, threads * ranks // nodes, command)
    return _launch_here(ranks // nodes, threads, command, _meeting(nodes))


def _launch_on_each(nodes: int, cpus: int, command: list[str]) -> NoReturn:
    """Become `srun`, which runs the command on each machine of the job."""
    with socket.socket() as free:
        free.bind(("", 0))
        os.environ[PORT] = str(free.getsockname()[1])
    options = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    options += [f"--cpus-per-task={cpus}", f"--wait={PATIENCE_S}"]
    os.execvp("srun", ["srun", *options, sys.executable, *command])


def _meeting(nodes: int) -> list[str]:
    """Where the launchers of all machines find each other, as options of `torchrun`."""
    if nodes == 1:
        here = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        return [*here, "--rdzv-id", str(os.getpid())]
    # srun was called on the first machine
    place = f"{os.environ['SLURM_LAUNCH_NODE_IPADDR']}:{os.environ[PORT]}"
    options = ["--nnodes", str(nodes), "--node-rank", os.environ["SLURM_NODEID"]]
    return [*options, "--rdzv-backend", "static", "--rdzv-endpoint", place]


def _launch_here(ranks: int, threads: int, command: list[str], meeting: list[str]) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    from hermes.jobs.interruption import STATUS

    options = ["--nproc-per-node", str(ranks), "--signals-to-handle", SIGNALS]
    options += ["--shutdown-timeout", str(PATIENCE_S), *meeting]
    config, program, arguments = config_from_args(parse_args([*options, *command]))
    try:
        elastic_launch(config, program)(*arguments)
    except SignalException:
        return STATUS
    except ChildFailedError as error:
        found = {number: failure.exitcode for number, failure in error.failures.items()}
        if STATUS in found.values():
            return STATUS
        print(f"processes failed, status by number: {found}", file=sys.stderr)
        return 1
    return 0
