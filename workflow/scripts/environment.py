"""Write environment.yml from the requirements: the same pins for conda users."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
# Made by `make lock` from requirements.in and requirements.lock: the same pins for conda users.
#   conda env create --file environment.yml && conda activate hermes
name: hermes
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def pins(text: str) -> list[str]:
    """`name==version` of every requirement in a requirements file, with its marker."""
    return re.findall(r"^[A-Za-z0-9._-]+==[^\s\\]+(?: *;[^\\\n]+)?", text, re.MULTILINE)


def render(requirements: str, lock: str) -> str:
    """The environment file: torch, every locked package, and Hermes itself."""
    torch = [pin for pin in pins(requirements) if pin.startswith("torch==")]
    listed = [*torch, *(pin.strip() for pin in pins(lock)), "--editable ."]
    quoted = [f'"{pin}"' if ";" in pin else pin for pin in listed]
    return HEAD + "".join(f"      - {pin}\n" for pin in quoted)


if __name__ == "__main__":
    text = render(
        (ROOT / "requirements.in").read_text(encoding="utf-8"),
        (ROOT / "requirements.lock").read_text(encoding="utf-8"),
    )
    (ROOT / "environment.yml").write_text(text, encoding="utf-8")
    sys.exit(0)
