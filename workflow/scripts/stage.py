"""Run one stage of Hermes: `stage.py STAGE VALUES PATHS LOG`, VALUES and PATHS JSON objects.

The one place where the workflow meets the code: it turns a rule's values and paths into a call of
`hermes.<stage>.run`, writes what the stage has to say to the rule's log, and ends a failure with a
plain line on what went wrong and where to read more. VALUES decide the result, and a change of them
reruns the rule; PATHS (with threads and device) say where things lie on this machine.
"""

import importlib
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def main(stage: str, values: str, paths: str, log: str) -> int:
    """Call the stage; returns the exit status."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(), logging.FileHandler(log, mode="w", encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[terminal, file])
    try:
        importlib.import_module(f"hermes.{stage}").run(**json.loads(values), **json.loads(paths))
    except Exception as error:
        file.handle(logging.makeLogRecord({"msg": "traceback", "exc_info": sys.exc_info()}))
        print(f"{stage} failed: {error or type(error).__name__}\n(log: {log})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
