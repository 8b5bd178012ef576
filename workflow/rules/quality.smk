# in:  data/<study>/canonical/<dataset>/, what cards and config/anatomy.tsv say, the published lists
# out: results/<study>/quality/: measurements, findings and pictures per dataset; and of the study
#      results/<study>/quality.html for a person and quality.tsv with every finding
# The splits are no input: the page makes them itself, so that it also shows a dataset whose split is refused.


rule measure:
    input:
        cases=rules.convert.output.cases,
        code=code("quality.measure"),
    output:
        cases=f"{RESULTS}/quality/{{dataset}}_cases.tsv",
        structures=f"{RESULTS}/quality/{{dataset}}.tsv",
    log:
        f"{LOGS}/measure/{{dataset}}.log",
    benchmark:
        f"{LOGS}/measure/{{dataset}}.benchmark.tsv"
    priority: 74
    conda:
        environment
    threads: WORKERS
    resources:
        mem_mb=memory("measure"),
        runtime=minutes("measure"),
    params:
        values=lambda w: call(
            dataset=w.dataset,
            canonical=f"{DATA}/canonical/{w.dataset}",
            structures=list(PLAN.cards[w.dataset].structures),
        ),
        paths=lambda w, input, output, threads: call(
            cases=input.cases,
            measured=output.cases,
            measured_structures=output.structures,
            workers=threads,
        ),
    message:
        "Measure: volumes, places and grey values of {wildcards.dataset}"
    shell:
        "python workflow/scripts/stage.py quality.measure {params.values:q} {params.paths:q} {log:q}"


rule judge:
    input:
        measured=rules.measure.output.cases,
        structures=rules.measure.output.structures,
        rejected=rules.convert.output.rejected,
        manifest=f"{DATA}/raw/{{dataset}}.json",
        anatomy="config/anatomy.tsv",
        code=code("quality.judge"),
    output:
        findings=f"{RESULTS}/quality/{{dataset}}_findings.tsv",
        pictures=f"{RESULTS}/quality/{{dataset}}_pictures.json",
    log:
        f"{LOGS}/judge/{{dataset}}.log",
    benchmark:
        f"{LOGS}/judge/{{dataset}}.benchmark.tsv"
    priority: 73
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("judge"),
        runtime=minutes("judge"),
    params:
        values=lambda w: call(
            facts=quality_facts(w.dataset),
            canonical=f"{DATA}/canonical/{w.dataset}",
        ),
        paths=lambda w, input, output: call(
            measured=input.measured,
            measured_structures=input.structures,
            rejected=input.rejected,
            manifest=input.manifest,
            anatomy=input.anatomy,
            findings=output.findings,
            pictures=output.pictures,
        ),
    message:
        "Judge: {wildcards.dataset} against anatomy, itself and what is published"
    shell:
        "python workflow/scripts/stage.py quality.judge {params.values:q} {params.paths:q} {log:q}"


rule quality:
    input:
        measured=expand(rules.measure.output.cases, dataset=PLAN.cards),
        structures=expand(rules.measure.output.structures, dataset=PLAN.cards),
        rejected=expand(rules.convert.output.rejected, dataset=PLAN.cards),
        findings=expand(rules.judge.output.findings, dataset=PLAN.cards),
        pictures=expand(rules.judge.output.pictures, dataset=PLAN.cards),
        lists=[LISTS] if any(map(split_lists, PLAN.cards)) else [],
        template="hermes/report/quality.html.j2",
        code=code("report.quality"),
    output:
        html=report(
            f"{RESULTS}/quality.html",
            caption="../report/quality.rst",
            category="Data",
            labels={"page": "quality of the datasets"},
        ),
        tsv=f"{RESULTS}/quality.tsv",
    log:
        f"{LOGS}/quality/quality.log",
    benchmark:
        f"{LOGS}/quality/quality.benchmark.tsv"
    priority: 72
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("quality"),
        runtime=minutes("quality"),
    params:
        values=lambda w: call(
            facts=[quality_facts(name) for name in PLAN.cards],
            splits=[splitting(name) for name in PLAN.cards],
            trained=trained(),
            study=study_facts(),
            protocol=PLAN.study.protocol.model_dump()
            | {
                "seed": PLAN.study.seed,
                "nsd_tolerance_mm": PLAN.study.evaluate.nsd_tolerance_mm,
            },
            preprocess=PLAN.study.preprocess.model_dump(mode="json"),
        ),
        paths=lambda w, input, output: call(
            measured=list(input.measured),
            measured_structures=list(input.structures),
            rejected=list(input.rejected),
            findings=list(input.findings),
            pictures=list(input.pictures),
            lists=[split_lists(name) for name in PLAN.cards],
            html=output.html,
            tsv=output.tsv,
        ),
    message:
        "Quality: a page on the datasets of the study {STUDY}"
    shell:
        "python workflow/scripts/stage.py report.quality {params.values:q} {params.paths:q} {log:q}"
