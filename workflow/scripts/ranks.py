"""Run a script in several processes of this machine, as `torchrun --standalone` does.

Beyond `torchrun`, the exit status says whether a stopped training can go on: 75 where a process
left with it or the group was told to stop, else 1 for any failure.
"""

import os
import sys

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # handed on to the processes
PATIENCE_S = 300  # ASSUME: a state of about 1 GB is saved by then on any disk


def launch(ranks: int, threads: int, command: list[str]) -> int:
    """Run a Python script with its arguments `ranks` times; returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    from hermes.interruption import STATUS

    options = ["--nproc-per-node", str(ranks), "--signals-to-handle", SIGNALS]
    options += ["--shutdown-timeout", str(PATIENCE_S), "--rdzv-backend", "c10d"]
    options += ["--rdzv-endpoint", "localhost:0", "--rdzv-id", str(os.getpid())]
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
