"""The tables of the configured study, under the names that the paper's tables have."""

import logging
import shutil
from pathlib import Path

from hermes.files.atomic import writing

logger = logging.getLogger(__name__)


def run(*, copies: dict[str, str]) -> None:
    """Copy files, each whole or not at all.

    Args:
        copies: path of each copy -> the file that it is a copy of.
    """
    for copy, made in copies.items():
        with writing(Path(copy)) as aside:
            shutil.copyfile(made, aside)
    logger.info("%s", ", ".join(copies))
