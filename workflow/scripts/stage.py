"""Run one stage of Hermes: `stage.py STAGE ARGUMENTS LOG`, ARGUMENTS a JSON object.

The one place where the workflow meets the code: it turns a rule's values into a call of
`hermes.<stage>.run`, writes everything to the rule's log, and ends with one plain line on what
went wrong and where to read more.
"""

import importlib
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

EXPECTED = (ValueError, OSError)  # bad input: the message says it all
FORMAT = "%(asctime)s %(levelname)s %(message)s"


def main(stage: str, arguments: str, log: str) -> int:
    """Call the stage; returns the exit status."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(), logging.FileHandler(log, mode="w", encoding="utf-8")
    terminal.setLevel(logging.INFO)
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[terminal, file])
    module = importlib.import_module(f"hermes.{stage}")
    try:
        module.run(**json.loads(arguments))
    except EXPECTED as error:
        file.handle(logging.makeLogRecord({"msg": "traceback", "exc_info": sys.exc_info()}))
        print(f"{stage} failed: {error}\n(log: {log})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
