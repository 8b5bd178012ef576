"""Which source files a module is made of: itself and what it imports from Hermes, transitively.

The `__init__.py` of a package counts where the package itself is imported, not where only one of
its modules is: it may change no result by being imported.
"""

import ast
from functools import cache
from pathlib import Path


def source_files(module: str, root: str | Path) -> list[str]:
    """Paths below `root`, relative to it and sorted, that a change of the module can lie in.

    Args:
        module: dotted name, for example `hermes.train`; a package stands for all its modules.
        root: the folder that holds the package.

    Raises ValueError: there is no such module.
    """
    root = Path(root)
    seen: set[Path] = set()
    waiting = _files(root, module)
    if not waiting:
        raise ValueError(f"{module}: no such module below {root}; name one as it is imported")
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [file for name in _imports(path, root) for file in _files(root, name)]
    return sorted(path.relative_to(root).as_posix() for path in seen)


def _files(root: Path, module: str) -> list[Path]:
    base = root.joinpath(*module.split("."))
    return [base.with_suffix(".py")] if _is_module(root, module) else sorted(base.glob("*.py"))


def _is_module(root: Path, name: str) -> bool:
    return root.joinpath(*name.split(".")).with_suffix(".py").is_file()


@cache
def _imports(path: Path, root: Path) -> tuple[str, ...]:
    """Modules and packages of the same top package that a file imports.

    `from p import m` is the module `p.m` where there is one, or else something of `p`.
    """
    package = path.relative_to(root).parts[0]
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if _is_module(root, name) else node.module for name in within]
    return tuple(name for name in names if name.split(".")[0] == package and name != package)
