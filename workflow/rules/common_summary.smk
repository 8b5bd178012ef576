# What a run says in its last lines, after Snakemake's own: what would be done and why (-n), what was done and
# where to look, or which jobs failed, of what, and where their logs are. Only the process that a person
# started speaks, and only of runs: not of --dag, --summary, --lint or --report.

import atexit
import logging
import time

from hermes.jobs import log as job_log
from hermes.jobs import run_words
from hermes.jobs.bars import ERASE
from snakemake.logging import logger as snakemake_logger
from snakemake_interface_logger_plugins.common import LogEvent

STARTED = time.monotonic()
HERE = Path.cwd()  # --directory is left before the last lines are written


class Heard(logging.Handler):
    """Takes note of what Snakemake reports of a run.

    Attributes:
        begun: whether any job was started.
        refused: whether Snakemake itself reported an error.
        words: what an executor said of a failed job, by the job's number.
    """

    def __init__(self):
        super().__init__()
        self.begun, self.refused, self.words = False, False, {}

    def emit(self, record):
        event = getattr(record, "event", None)
        self.begun |= event == LogEvent.JOB_STARTED
        if event == LogEvent.JOB_ERROR:
            self.words[record.jobid] = record.rule_msg or ""
        self.refused |= record.levelno >= logging.ERROR


def erase_bar(record):
    """Filter that lets all pass: what is said on a terminal takes the place of a job's bar."""
    sys.stderr.write(ERASE)
    return True


def speak_at_the_end():
    """Register the last words of this process, once, where it is the one that a person started."""
    if workflow.is_main_process:
        heard = Heard()
        snakemake_logger.addHandler(heard)
        if sys.stderr.isatty():
            snakemake_logger.addFilter(erase_bar)
        atexit.register(speak, heard)


def speak(heard):
    """Say the last words of a run; of anything else than a run, nothing."""
    if workflow.executor_plugin is None or workflow.touch or workflow.dag is None:
        return
    if workflow.dryrun:
        if not heard.refused:
            print(f"\n{dry_words()}", flush=True)
    elif heard.begun:
        print(f"\n{last_words(heard)}", file=sys.stderr, flush=True)


def to_run():
    """Jobs of the run that make something, in an order that does not change."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    return sorted((job for job in jobs if job.output), key=lambda job: job.output[0])


def described(jobs):
    """Jobs as `hermes.jobs.run_words` takes them."""
    numbers = {job: number for number, job in enumerate(jobs)}
    return [
        run_words.Job(
            job.rule.name,
            keys=dict(job.wildcards_dict),
            seconds=job_log.seconds(HERE / job.benchmark) if job.benchmark else None,
            threads=job.threads,
            reason=reason(job),
            changed=changed_sources(job),
            needs=[
                numbers[other]
                for other in workflow.dag.dependencies[job]
                if other in numbers
            ],
        )
        for job in jobs
    ]


def changed_sources(job):
    """Source files among a job's inputs that are newer than what it made."""
    updated = map(str, workflow.dag.reason(job).updated_input or ())
    return sorted(path for path in updated if path.startswith("hermes/"))


def reason(job):
    """Why a job is to run, one of `hermes.jobs.run_words.REASONS`."""
    why, sources = workflow.dag.reason(job), changed_sources(job)
    holds = {
        "forced": why.forced,
        "incomplete": why.incomplete_output,
        "missing": why.missing_output,
        "settings": why.params_changed,
        "code": why.code_changed or sources,
        "input": len(why.updated_input or ()) > len(sources) or why.input_changed,
        "environment": why.software_stack_changed,
    }
    return next((name for name, held in holds.items() if held), "follows")


def asked_for():
    """Targets of this invocation: files, else rules."""
    files = sorted(map(str, workflow.dag.targetfiles or ()))
    return files or [
        f"what `{rule.name}` asks for" for rule in workflow.dag.targetrules or ()
    ]


def dry_words():
    """What a dry run says."""
    remote = workflow.nodes is not None
    return run_words.would(
        described(to_run()), asked_for(), None if remote else workflow.cores
    )


def last_words(heard):
    """What a run says that began a job."""
    jobs = to_run()
    done = [job for job in jobs if workflow.dag.finished(job)]
    failed = [job for each in workflow.scheduler.failed for job in members(each)]
    if failed:
        return run_words.failed(
            [failure(job, heard) for job in jobs if job in failed],
            len(done),
            len(jobs),
        )
    if len(done) < len(jobs):
        return run_words.stopped(len(done), len(jobs))
    return run_words.did(described(done), time.monotonic() - STARTED, to_look_at())


def members(job):
    """The jobs of a group, or the job itself."""
    return list(job.jobs) if job.is_group() else [job]


def failure(job, heard):
    """A failed job, its cause, and its log."""
    log = job.log[0] if job.log else ""
    said = heard.words.get(workflow.dag.jobid(job), "")
    why = job_log.cause(HERE / log, said) if log else said or job_log.SILENT
    return described([job])[0], why, log or "none"


def to_look_at():
    """What a person may want to see of what is there now."""
    found = {
        "Tables": [
            f"{RESULTS}/tables.html",
            *(f"{RESULTS}/{name}.csv" for name in PLAN.reported()),
        ],
        "Figures": sorted(
            str(path.relative_to(HERE))
            for path in (HERE / RESULTS / "figures").glob("[!o]*.svg")
        ),
        "Data": [f"{RESULTS}/quality.html"],
        "Logs": [LOGS],
    }
    return {
        title: [path for path in paths if (HERE / path).exists()]
        for title, paths in found.items()
    }
