"""Run one stage of Hermes: `stage.py STAGE VALUES PATHS LOG`, VALUES and PATHS JSON objects.

The one place where the workflow meets the code: it turns a rule's values and paths into a call of
`hermes.<stage>.run`, writes what the stage has to say to the rule's log, and ends a failure with a
plain line on what went wrong and where to read more. VALUES decide the result, and a change of them
reruns the rule; PATHS (with threads and device) say where things lie on this machine.

Four of the paths are for this script: `ranks`, processes that the stage is run in (not where
`torchrun` has started this one already), `nodes`, machines of a SLURM job that share them, `gpus`,
which no other job of this machine uses meanwhile, and `strict`, which pins arithmetic before torch
is loaded.
"""

import importlib
import json
import logging
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hermes.files.atomic import FULL, unwritten
from hermes.jobs.bars import LineHandler
from hermes.jobs.gpus import GpuError, take

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def main(stage: str, values: str, paths: str, log: str) -> int:
    """Call the stage; returns the exit status."""
    arguments = {**json.loads(values), **json.loads(paths)}
    if arguments.get("strict"):
        from hermes.jobs.strict import environment

        os.environ.update(environment())
    ranks, nodes = arguments.pop("ranks", 1), arguments.pop("nodes", 1)
    gpus = arguments.pop("gpus", 0)
    if "RANK" not in os.environ:
        try:
            take(gpus)
        except GpuError as error:
            print(f"{stage} failed: {error}", file=sys.stderr)
            return 1
    if ranks > 1 and "RANK" not in os.environ:
        from ranks import launch

        return launch(ranks, arguments["threads"], [__file__, stage, values, paths, log], nodes)
    logging.raiseExceptions = False  # a disk that takes no log is told of by the stage itself
    file: logging.Handler = logging.NullHandler()
    try:
        log, file = _start_log(log, int(os.environ.get("RANK", "0")))
        importlib.import_module(f"hermes.{stage}").run(**arguments)
    except KeyboardInterrupt:
        print(f"{stage}: stopped; what is done is kept", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        told = f"{stage} failed: {_plain(error)}"
        record = {"levelname": "ERROR", "msg": " ".join(told.split()), "exc_info": sys.exc_info()}
        file.handle(logging.makeLogRecord(record))
        print(f"{told}\n(log: {log})", file=sys.stderr)
        return 1
    return 0


def _plain(error: Exception) -> str:
    """What went wrong; of a full disk also where, how full, and what to do."""
    if type(error) is OSError and error.errno in FULL:
        return unwritten(Path(error.filename or "."), error)
    return str(error) or type(error).__name__


def _start_log(log: str, rank: int) -> tuple[str, logging.FileHandler]:
    """Log to the terminal and to a file; processes beside the first to one of their own, if ever.

    Of those, only what goes wrong is of interest.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    if rank:
        log = f"{log}.rank{rank}"
    file = logging.FileHandler(log, mode="w", encoding="utf-8", delay=bool(rank))
    level = logging.ERROR if rank else logging.INFO
    logging.basicConfig(level=level, format=FORMAT, handlers=[LineHandler(), file])
    return log, file


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
