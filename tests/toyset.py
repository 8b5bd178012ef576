"""A toy dataset to download: its card, its archives."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import yaml

from hermes.download import run

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def deflated(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Dataset:
    """A card in a temporary place, and its download."""

    def __init__(self, root: Path, name: str = "toy") -> None:
        self.root, self.name = root, name
        self.raw, self.manifest = root / "raw" / name, root / "raw" / f"{name}.json"
        self.cache = root / "cache"
        self.licence: dict = {"name": "none"}

    def card(self, *archives: dict, kind: str = "http") -> Path:
        path = self.root / f"{self.name}.yaml"
        card = {
            "name": self.name,
            "title": "Toy",
            "description": "Two files.",
            "citation": "none",
            "licence": self.licence,
            "access": {"kind": kind, "url": "toy.example", "instructions": "Ask the owners."},
            "archives": list(archives),
            "role": "sample",
            "region": "Abdomen",
            "clinical_target": "Organs",
            "modality_title": "CT",
            "modality": "ct",
            "images": [{"pattern": "{case}.nii.gz", "label": {"format": "none"}}],
            "labels": [{"value": 1, "structure": "liver"}],
            "split": {"rule": "all_test"},
        }
        path.write_text(yaml.safe_dump(card))
        return path

    def get(self, *archives: dict, kind: str = "http", **more: object) -> dict:
        """Download; the terms are accepted and retries do not wait, unless `more` says else."""
        given = {"accept": [self.name], "pause_s": 0.0} | more
        run(
            card=self.card(*archives, kind=kind),
            raw=self.raw,
            manifest=self.manifest,
            cache=self.cache,
            **given,
        )
        return json.loads(self.manifest.read_text())

    def files(self) -> dict[str, bytes]:
        found = (p for p in self.raw.rglob("*") if p.is_file())
        return {p.relative_to(self.raw).as_posix(): p.read_bytes() for p in found}
