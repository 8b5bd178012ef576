"""Where something was made: code, commit, packages, machine. What records and sidecars say of it.

Needs no torch, so that a stage that does without it stays quick.
"""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import hermes
from hermes.sources import source_files

ROOT = Path(hermes.__file__).resolve().parents[1]
"""The checkout whose code runs."""

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

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
"""Of a CPU, as Linux names them: those by which libraries choose their kernels."""

CPU = Path("/proc/cpuinfo")


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def code_hash(module: str) -> str:
    """SHA-256 over the source files that a module is made of, with their names."""
    digest = hashlib.sha256()
    for name in source_files(module, ROOT):
        digest.update(f"{file_hash(ROOT / name)}  {name}\n".encode())
    return digest.hexdigest()


def commit() -> str:
    """The commit of the checkout, with `+changes` where it holds uncommitted ones."""
    said = _git("describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")
    return said.strip() if said else "unknown: not a git checkout"


def changes() -> list[str]:
    """Files of the checkout that are not as its commit has them, new ones too, sorted."""
    said = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    return sorted(line[3:] for line in said.split("\0") if line)


def _git(*arguments: str) -> str:
    """What git answers; nothing where there is none, or no checkout."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, str]:
    """Architecture, model of the CPU, and the instructions by which kernels are chosen."""
    said = _cpu()
    flags = (said.get("flags") or said.get("Features") or "").split()
    return {
        "architecture": platform.machine(),
        "cpu": said.get("model name") or platform.processor() or "unknown",
        "instructions": " ".join(name for name in INSTRUCTIONS if name in flags),
    }


def _cpu() -> dict[str, str]:
    """What Linux says of the first CPU; nothing elsewhere."""
    if not CPU.is_file():
        return {}
    first = CPU.read_text(encoding="utf-8").split("\n\n", 1)[0]
    pairs = [line.partition(":") for line in first.splitlines()]
    return {key.strip(): value.strip() for key, _, value in pairs}


def environment() -> dict[str, Any]:
    """Commit, changed files, packages and machine, as records and sidecars have them."""
    lock = ROOT / "requirements.lock"
    return {
        "commit": commit(),
        "changes": changes(),
        "versions": package_versions(),
        "requirements_lock_sha256": file_hash(lock) if lock.is_file() else "",
        "machine": machine(),
    }
