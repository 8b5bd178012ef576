"""Write a study's pipeline for DVC: `stages.py [STUDY] [--check]`.

Snakemake keeps the rules; a DVC stage is one rule for one dataset or run, whose command has
Snakemake run that rule alone. Everything is derived from `config/` and the imports of the code, so
that nothing is listed twice. The phantom's pipeline is `dvc.yaml`, another study's
`dvc/<study>/dvc.yaml`.

`--check` fails where the file is not what would be written. The stage `plan` calls it, so that
`dvc repro` ends well only where it knows every input.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from data_stages import data_stages  # noqa: E402
from pipeline import Pipeline, Stage  # noqa: E402
from report_stages import report_stages, shown  # noqa: E402
from run_stages import run_stages  # noqa: E402

from hermes.config.registry import RegistryError  # noqa: E402
from hermes.files.atomic import writing  # noqa: E402

HEAD = """\
# Made by `make dvc.yaml` from config/ and the code; do not edit. docs/dvc.md says how it is used.
"""
ROOT_STUDY = "phantom"
CHECK = "python workflow/dvc/stages.py"


def file_of(study: str) -> str:
    """Path of a study's pipeline below the root."""
    return "dvc.yaml" if study == ROOT_STUDY else f"dvc/{study}/dvc.yaml"


def render(study: str, root: Path = ROOT) -> str:
    """The text of a study's pipeline.

    Raises RegistryError: the configuration is not valid.
    """
    pipe = Pipeline.of(study, root)
    at_root = study == ROOT_STUDY
    stages = {
        "plan": _plan(pipe),
        **data_stages(pipe),
        **run_stages(pipe),
        **report_stages(pipe, at_root),
    }
    up = "" if at_root else "../../"
    if up:
        stages = {name: _from_below(up, stage) for name, stage in stages.items()}
    text = yaml.safe_dump(
        {"stages": stages, **shown(pipe, up)},
        sort_keys=False,
        default_flow_style=None,
        width=110,
    )
    return HEAD + text


def _plan(pipe: Pipeline) -> Stage:
    """The stage that refuses a pipeline which lags behind the configuration it was made from.

    Of the code it looks at imports too, which are no dependency here: an edit anywhere would have
    a pull refused. The tests see to them.
    """
    study = pipe.plan.study.name
    files = ["config/datasets", "config/runs.yaml", "config/tables.yaml", pipe.settings]
    return {
        "desc": "Fails where this file lags behind config/",
        "cmd": f"{CHECK} {study} --check",
        "deps": [*files, "workflow/dvc"],
        "params": [pipe.switches],
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
        study = names[0] if names else ROOT_STUDY
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
