"""Memory and time of one case of a given size: peak resident memory of a process of its own.

    python benchmarks/memory.py preprocess --size 1000 600 600 --spacing 0.8 0.8 0.8
    python benchmarks/memory.py preprocess --size 1000 600 600 --spacing 3 2 2 --dtype float32
    python benchmarks/memory.py convert --size 1000 600 600 --spacing 0.8 0.8 0.8

The scan is a body of noise in air with a label of 20 classes, stored as convert stores it, or as a
dataset of NIfTI files in another orientation for convert itself. Each line says with what it was
run; "start" is a process that has imported the stage and done nothing.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from hermes.files.nifti import write_nifti
from hermes.files.volume import Volume

CLASSES = 20
STRUCTURES = [f"structure_{k}" for k in range(1, CLASSES + 1)]


def volume(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Image and label [z, y, x]: an elliptic cylinder at 0 +- 50 in air at -1000, 20 wedges."""
    rng = np.random.default_rng(0)
    _, height, width = args.size
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (x / 0.7) ** 2 + (y / 0.5) ** 2 < 1
    wedge = ((np.arctan2(y, x) / np.pi + 1) * 4 * CLASSES).astype(int) % CLASSES + 1
    noise = rng.normal(0, 50, (height, width)).astype(np.float32)
    image = np.empty(args.size, args.dtype)
    label = np.zeros(args.size, np.uint8)
    for z in range(args.size[0]):  # noise that turns: no plane is like the last, at no cost
        image[z] = np.where(inside, 0, -1000) + np.roll(noise, 7 * z)
        label[z] = inside * np.roll(wedge, z) * (z % 40 < 30)
    return image, label


def make(args: argparse.Namespace, folder: Path) -> None:
    """Write the scan and its label as canonical files, and as a dataset with a card."""
    image, label = volume(args)
    affine = np.diag([-args.spacing[2], -args.spacing[1], args.spacing[0], 1.0])
    write_nifti(folder / "case.nii.gz", Volume(image, affine))
    write_nifti(folder / "case_label.nii.gz", Volume(label, affine))
    turned = np.diag([args.spacing[2], args.spacing[1], args.spacing[0], 1.0])
    raw = folder / "raw"
    write_nifti(raw / "image" / "case.nii.gz", Volume(image, turned))
    write_nifti(raw / "label" / "case.nii.gz", Volume(label, turned))
    files = [
        {"path": path.relative_to(raw).as_posix(), "bytes": path.stat().st_size, "sha256": ""}
        for path in sorted(raw.rglob("*.nii.gz"))
    ]
    manifest = {"dataset": "large", "source": "copy", "archives": [], "files": files}
    (folder / "raw.json").write_text(json.dumps(manifest))
    (folder / "large.yaml").write_text(yaml.safe_dump(card()))


def card() -> dict:
    return {
        "name": "large",
        "title": "Large",
        "description": "One large scan.",
        "citation": "none",
        "licence": {"name": "none"},
        "access": {"kind": "http", "url": "", "instructions": "It is made here."},
        "role": "sample",
        "region": "Body",
        "clinical_target": "Organs",
        "modality_title": "CT",
        "modality": "ct",
        "images": [
            {
                "pattern": "image/{case}.nii.gz",
                "label": {"format": "nifti", "path": "label/{case}.nii.gz"},
            }
        ],
        "labels": [{"value": k, "structure": name} for k, name in enumerate(STRUCTURES, 1)],
        "split": {"rule": "all_test"},
    }


def start(args: argparse.Namespace, folder: Path) -> None:
    """Import both stages and do nothing."""
    import hermes.convert
    import hermes.preprocess  # noqa: F401


def convert(args: argparse.Namespace, folder: Path) -> None:
    from hermes.convert import run

    run(
        card=folder / "large.yaml",
        raw=folder / "raw",
        manifest=folder / "raw.json",
        out=folder / "canonical",
        cases=folder / "canonical" / "cases.tsv",
        rejected=folder / "canonical" / "rejected.tsv",
    )


def preprocess(args: argparse.Namespace, folder: Path) -> None:
    import torch

    from hermes.preprocess import Settings, preprocess_case

    torch.set_num_threads(1)
    window = {"percentiles": [2, 98]} if args.percentiles else {"clip": [-991, 500]}
    settings = Settings(
        "large", CLASSES, args.target, False, {"ct": window}, seed=0, body_crop=args.body_crop
    )
    affine = np.diag([-args.spacing[2], -args.spacing[1], args.spacing[0], 1.0])
    row = {
        "case": "case",
        "modality": "ct",
        "native_axes": "L,P,S",
        "native_affine": " ".join(map(str, affine.ravel())),
        "native_size": " ".join(map(str, args.size[::-1])),
    }
    print(preprocess_case(folder, folder / "out", settings, row)["grid_size"], end="  ")


WORK = {"make": make, "start": start, "convert": convert, "preprocess": preprocess}


def alone(step: str, folder: Path) -> None:
    """Run a step in a process of its own, which prints what it took."""
    subprocess.run([sys.executable, *sys.argv, "--step", step, "--folder", folder], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("convert", "preprocess"))
    parser.add_argument("--size", type=int, nargs=3, default=(1000, 600, 600), help="z y x")
    parser.add_argument("--spacing", type=float, nargs=3, default=(0.8, 0.8, 0.8), help="mm, z y x")
    parser.add_argument("--target", type=float, default=1.5, help="mm, isotropic")
    parser.add_argument("--dtype", default="int16", help="the scan's, such as float32, float64")
    parser.add_argument("--percentiles", action="store_true", help="window by percentiles")
    parser.add_argument("--body-crop", action="store_true", help="store the body's box alone")
    parser.add_argument("--step", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.step:
        with tempfile.TemporaryDirectory() as folder:
            alone("make", Path(folder))
            alone("start", Path(folder))
            alone(args.stage, Path(folder))
            (Path(folder) / "case_label.nii.gz").unlink()
            if args.stage == "preprocess":
                print("without a label:")
                alone(args.stage, Path(folder))
        return
    began = time.perf_counter()
    WORK[args.step](args, args.folder)
    if args.step != "make":
        own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        peak = max(own.ru_maxrss, workers.ru_maxrss) * 1024 / 1e9
        seconds = time.perf_counter() - began
        print(f"{args.step}: peak {peak:.2f} GB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
