"""The files of a raw folder, as the converter sees them, and in a few words."""

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from hermes.card_check.finding import Finding, skeleton
from hermes.convert.raw import ConvertError, RawFolder
from hermes.download.files import list_files
from hermes.words import counted, some


def read_folder(folder: Path) -> RawFolder:
    """List a raw folder as the converter would see it: without dot-files and resource forks."""
    sizes = {path: (folder / path).stat().st_size for path in list_files(folder)}
    files = [{"path": path, "bytes": size, "sha256": ""} for path, size in sizes.items()]
    with tempfile.TemporaryDirectory() as aside:
        manifest = Path(aside, "manifest.json")
        manifest.write_text(json.dumps({"files": files}), encoding="utf-8")
        return RawFolder.read(folder, manifest)


def check_manifest(raw: RawFolder) -> Iterator[Finding]:
    """Say where the list that the download stage made of this folder is out of date."""
    manifest = raw.root.with_name(f"{raw.root.name}.json")
    if not manifest.is_file():
        return
    try:
        listed = RawFolder.read(raw.root, manifest).files
    except ConvertError:
        return  # a file of another kind that happens to lie there
    changed = [
        path
        for path in dict.fromkeys((*raw.files, *listed))
        if path not in listed or path not in raw.files or listed[path][0] != raw.files[path][0]
    ]
    if changed:
        yield Finding(
            f"{counted(len(changed), 'file')} came, went or changed after {manifest.name} listed "
            f"the folder: {some(changed)}",
            f"remove {manifest} (the list, not the folder), so that it is made again",
            problem=False,
        )


def group(paths: Iterable[str], most: int = 8) -> list[str]:
    """Say in a few lines which files these are: alike names together, with a count."""
    alike: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        alike[skeleton(PurePosixPath(path).name)].append(path)
    groups: dict[str, list[str]] = defaultdict(list)
    for name, members in alike.items():
        ending = re.sub(r"^[^.]*", "", name)
        groups[name if len(members) > 1 else f"*{ending}"] += members
    ranked = sorted(groups.values(), key=len, reverse=True)
    lines = [
        members[0] if len(members) == 1 else f"{len(members):,} such as {members[0]}"
        for members in ranked[:most]
    ]
    rest = sum(map(len, ranked[most:]))
    return [*lines, f"{rest:,} others"] if rest else lines
