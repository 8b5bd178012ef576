"""The tiny study: a checkout to build it in, and the scripts that run it and compare bytes."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = Path(__file__).parent / "tiny_study"
TARGET = "results/tiny/tiny.csv"

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import kill_test  # noqa: E402  (scripts, not a package)
import same_bytes  # noqa: E402

__all__ = ["ROOT", "TARGET", "kill_test", "options", "same_bytes", "tiny_checkout"]


def tiny_checkout(folder: Path) -> Path:
    """A checkout that knows the tiny study and its table, with nothing built."""
    kill_test.copy_checkout(ROOT, folder)
    (folder / "config" / "studies" / "tiny.yaml").write_text((TINY / "tiny.yaml").read_text())
    with open(folder / "config" / "tables.yaml", "a", encoding="utf-8") as tables:
        tables.write((TINY / "tables.yaml").read_text())
    return folder


def options(folder: Path, *words: str):
    """Of a run of the tiny study's table, as the command line gives them."""
    return kill_test.arguments(["--study", "tiny", *words, str(folder), TARGET])
