"""What a rendered file was made of: the sidecar that lies beside every table."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from hermes.atomic import writing

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "blosc2",
    "isal",
    "scikit-image",
    "pandas",
    "snakemake",
)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def commit() -> str:
    """The commit of the working tree, with `+changes` where it holds uncommitted ones."""
    asked = ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return found.stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_sidecar(
    path: str | Path, study: dict, inputs: Iterable[str | Path], table: str | Path, extra: dict
) -> None:
    """Write the sidecar of a table.

    Args:
        path: JSON to write.
        study: name, protocol, seed, hash of the configuration, as the workflow gives them.
        inputs: files the table was made of; their hashes are listed.
        table: the rendered table, whose hash is listed too.
        extra: what only this table has to say.
    """
    facts = study | {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "versions": package_versions(),
        "table_sha256": file_hash(table),
        "inputs_sha256": {str(name): file_hash(name) for name in inputs},
    }
    with writing(path) as aside:
        aside.write_text(json.dumps(facts | extra, indent=2) + "\n", encoding="utf-8")
