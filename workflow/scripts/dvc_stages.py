"""Write a study's pipeline for DVC: `dvc_stages.py [STUDY] [--check]`.

Snakemake keeps the rules; a DVC stage is one rule for one dataset or run, whose command has
Snakemake run that rule alone. Everything is derived from `config/` and the imports of the code, so
that nothing is listed twice. The configured study's pipeline is `dvc.yaml`, another's
`dvc/<study>/dvc.yaml`.

`--check` fails where the file is not what would be written. The stage `plan` calls it, so that
`dvc repro` ends well only where it knows every input.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dvc_data_stages import data_stages  # noqa: E402
from dvc_pipeline import Pipeline, Stage  # noqa: E402
from dvc_report_stages import report_stages, shown  # noqa: E402
from dvc_run_stages import run_stages  # noqa: E402

from hermes.atomic import writing  # noqa: E402
from hermes.registry import RegistryError, read_yaml  # noqa: E402

HEAD = """\
# Made by `make dvc.yaml` from config/ and the code; do not edit. docs/dvc.md says how it is used.
"""
CHECK = "python workflow/scripts/dvc_stages.py"


def file_of(study: str, root: Path = ROOT) -> str:
    """Path of a study's pipeline below the root: `dvc.yaml` for the configured one."""
    configured = read_yaml(root / "config" / "config.yaml")["study"]
    return "dvc.yaml" if study == configured else f"dvc/{study}/dvc.yaml"


def render(study: str, root: Path = ROOT) -> str:
    """The text of a study's pipeline.

    Raises RegistryError: the configuration is not valid.
    """
    pipe = Pipeline.of(study, root)
    configured = file_of(study, root) == "dvc.yaml"
    stages = {
        "plan": _plan(study),
        **data_stages(pipe),
        **run_stages(pipe),
        **report_stages(pipe, configured),
    }
    up = "" if configured else "../../"
    if up:
        stages = {name: _from_below(up, stage) for name, stage in stages.items()}
    text = yaml.safe_dump(
        {"stages": stages, **shown(pipe, up)},
        sort_keys=False,
        default_flow_style=None,
        width=110,
    )
    return HEAD + text


def _plan(study: str) -> Stage:
    """The stage that refuses a pipeline which lags behind what it was made from."""
    return {
        "desc": "Fails where this file lags behind config/ or the code",
        "cmd": f"{CHECK} {study} --check",
        "deps": ["config", "hermes", "workflow/scripts"],
    }


def _from_below(up: str, stage: Stage) -> Stage:
    """The stage of a file in another folder: it runs at the root all the same."""
    if "foreach" in stage:
        return {"foreach": stage["foreach"], "do": {"wdir": up.rstrip("/"), **stage["do"]}}
    return {"wdir": up.rstrip("/"), **stage}


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    names = [word for word in arguments if word != "--check"]
    try:
        study = names[0] if names else read_yaml(ROOT / "config" / "config.yaml")["study"]
        path, text = ROOT / file_of(study), render(study)
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" not in arguments:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    told = f"{path}: not what config/ and the code say; write it anew: {CHECK} {study}"
    print(told, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
