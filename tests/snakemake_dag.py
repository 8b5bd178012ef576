"""Print the jobs of a study as JSON: `snakemake_dag.py STUDY TARGET...`, in a checkout.

Each with its rule, inputs and outputs, and what the rule says beside them. `snakemake --summary`
leaves out the inputs of what is not made yet, so Snakemake itself is asked.
"""

import json
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.rules import Rule
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings


def jobs(study: str, targets: list[str]) -> list[dict]:
    """The jobs that the targets need."""
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        asked = api.workflow(
            ResourceSettings(cores=2),
            config_settings=ConfigSettings(config={"study": study}),
            snakefile=Path("Snakefile"),
        )
        asked.dag(DAGSettings(targets=set(targets)))
        workflow = asked._workflow
        workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        return [
            {
                "rule": job.rule.name,
                "input": [str(path) for path in job.input],
                "output": [str(path) for path in job.output],
                "says": said(job.rule),
            }
            for job in workflow.dag.jobs
        ]


def said(rule: Rule) -> list[str]:
    """Names of the directives and resources that a rule has."""
    directives = ("log", "benchmark", "message", "conda_env")
    return [name for name in directives if getattr(rule, name)] + list(rule.resources)


if __name__ == "__main__":
    print(json.dumps(jobs(sys.argv[1], sys.argv[2:])))
