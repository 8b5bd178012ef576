# in:  scores, models' descriptions, case tables
# out: results/<study>/<table>.csv with _intervals.csv, .md and .json beside; tables.html; metrics.json and dice.tsv;
#      LICENSES.md; and the configured study's tables under the names of the paper: results/table2.csv, ...
# What `report` marks is shown by `snakemake --report report.html`.


rule table:
    input:
        scores=lambda w: scores(w.table),
        splits=lambda w: split_files(w.table).values(),
        models=lambda w: models(w.table),
        links=lambda w: links(w.table),
        published=lambda w: published(w.table) or [],
        code=code("report.tables"),
    output:
        csv=report(
            f"{RESULTS}/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}", "holds": "Dice in per cent (CSV)"},
        ),
        intervals=report(
            f"{RESULTS}/{{table}}_intervals.csv",
            caption="../report/intervals.rst",
            category="Tables",
            labels={"table": "{table}", "holds": "with intervals (CSV)"},
        ),
        markdown=f"{RESULTS}/{{table}}.md",
        sidecar=f"{RESULTS}/{{table}}.json",
    log:
        f"{LOGS}/table/{{table}}.log",
    benchmark:
        f"{LOGS}/table/{{table}}.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        values=lambda w: call(
            table=table_layout(w.table),
            scores=score_files(w.table),
            splits=split_files(w.table),
            published=published(w.table),
            links=LINKS,
            used=used(w.table),
            study=study_facts(
                dict.fromkeys(run for run, _ in PLAN.tables[w.table].scored())
            ),
        ),
        paths=lambda w, input, output: call(
            models=list(input.models),
            csv=output.csv,
            intervals=output.intervals,
            markdown=output.markdown,
            sidecar=output.sidecar,
            settings=settings(),
        ),
        label=PLAN.study.label,  # for the captions
    message:
        "Table: {wildcards.table} of the study {STUDY}"
    shell:
        "python workflow/scripts/stage.py report.tables {params.values:q} {params.paths:q} {log:q}"


rule computation:
    input:
        published="config/published/table1.csv",
        code=code("report.computation"),
    output:
        csv=report(
            f"{RESULTS}/table1.csv",
            caption="../report/computation.rst",
            category="Tables",
            labels={"table": "table1", "holds": "what networks cost (CSV)"},
        ),
        markdown=f"{RESULTS}/table1.md",
        sidecar=f"{RESULTS}/table1.json",
    log:
        f"{LOGS}/table/table1.log",
    benchmark:
        f"{LOGS}/table/table1.benchmark.tsv"
    priority: 1
    conda:
        environment
    threads: workflow.resource_settings.cores or PLAN.study.train.threads  # alone, so that nothing else takes its time
    resources:
        mem_mb=memory("computation"),
        runtime=minutes("computation"),
        gpu=GPU,
    params:
        values=lambda w: call(
            rows=compared(),
            datasets=[
                {"name": name, "tasks": PLAN.cards[name].tasks} for name in trained()
            ],
            dataset="amos_ct" if "amos_ct" in PLAN.cards else trained()[0],
            study=study_facts(),
            precision=PLAN.study.train.precision,
        ),
        paths=lambda w, input, output, threads: call(
            published=input.published,
            csv=output.csv,
            markdown=output.markdown,
            sidecar=output.sidecar,
            device=config["device"],
            gpus=taken(GPU),
            threads=threads,
            settings=settings(),
        ),
    message:
        "Table: what each network costs, measured on this device"
    shell:
        "python workflow/scripts/stage.py report.computation {params.values:q} {params.paths:q} {log:q}"


rule statistics:
    input:
        cases=expand(f"{DATA}/canonical/{{dataset}}/cases.tsv", dataset=PLAN.cards),
        rejected=expand(
            f"{DATA}/canonical/{{dataset}}/rejected.tsv", dataset=PLAN.cards
        ),
        splits=expand(f"{RESULTS}/splits/{{dataset}}.tsv", dataset=PLAN.cards),
        raw=expand(LINKS["raw"], dataset=PLAN.cards),
        code=code("report.statistics"),
    output:
        csv=report(
            f"{RESULTS}/table5.csv",
            caption="../report/statistics.rst",
            category="Tables",
            labels={"table": "table5", "holds": "the datasets (CSV)"},
        ),
        markdown=f"{RESULTS}/table5.md",
        sidecar=f"{RESULTS}/table5.json",
    log:
        f"{LOGS}/table/table5.log",
    benchmark:
        f"{LOGS}/table/table5.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("statistics"),
        runtime=minutes("statistics"),
    params:
        values=lambda w: call(
            datasets=[dataset_facts(name) for name in PLAN.cards],
            names=list(PLAN.cards),
            links={key: LINKS[key] for key in ("raw", "canonical", "split")},
            study=study_facts(),
        ),
        paths=lambda w, input, output: call(
            cases=list(input.cases),
            rejected=list(input.rejected),
            splits=list(input.splits),
            csv=output.csv,
            markdown=output.markdown,
            sidecar=output.sidecar,
            settings=settings(),
        ),
    message:
        "Table: dataset statistics of the study {STUDY}"
    shell:
        "python workflow/scripts/stage.py report.statistics {params.values:q} {params.paths:q} {log:q}"


rule tables_page:
    input:
        tables=[f"{RESULTS}/{name}.md" for name in PLAN.reported()],
        code=code("report.tables_page"),
    output:
        page=report(
            f"{RESULTS}/tables.html",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "all", "holds": "to read, with remarks"},
        ),
    log:
        f"{LOGS}/table/page.log",
    benchmark:
        f"{LOGS}/table/page.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("tables_page"),
        runtime=minutes("tables_page"),
    params:
        values=lambda w: call(title=PLAN.study.title, label=PLAN.study.label),
        paths=lambda w, input, output: call(tables=list(input.tables), page=output.page),
        label=PLAN.study.label,  # for the captions
    message:
        "Page: all tables of the study {STUDY}"
    shell:
        "python workflow/scripts/stage.py report.tables_page {params.values:q} {params.paths:q} {log:q}"


rule metrics:
    input:
        intervals=[f"{RESULTS}/{name}_intervals.csv" for name in PLAN.tables],
        code=code("report.metrics"),
    output:
        metrics=f"{RESULTS}/metrics.json",
        dice=f"{RESULTS}/dice.tsv",
    log:
        f"{LOGS}/metrics/metrics.log",
    benchmark:
        f"{LOGS}/metrics/metrics.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("metrics"),
        runtime=minutes("metrics"),
    params:
        values=lambda w: call(),
        paths=lambda w, input, output: call(
            intervals=dict(zip(PLAN.tables, input.intervals)),
            metrics=output.metrics,
            dice=output.dice,
        ),
    message:
        "Metrics: the numbers of all tables of the study {STUDY}, for programs"
    shell:
        "python workflow/scripts/stage.py report.metrics {params.values:q} {params.paths:q} {log:q}"


rule licences:
    input:
        manifests=manifests(),
        code=code("report.licences"),
    output:
        f"{RESULTS}/LICENSES.md",
    log:
        f"{LOGS}/licences/licences.log",
    benchmark:
        f"{LOGS}/licences/licences.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("licences"),
        runtime=minutes("licences"),
    params:
        values=lambda w: call(
            study=STUDY,
            title=PLAN.study.title,
            synthetic=PLAN.study.kind == "phantom",
            datasets=[licence_facts(name) for name in PLAN.cards],
        ),
        paths=lambda w, input, output: call(
            manifests={Path(path).stem: path for path in input.manifests},
            out=output[0],
        ),
    message:
        "Licences of the data of the study {STUDY}"
    shell:
        "python workflow/scripts/stage.py report.licences {params.values:q} {params.paths:q} {log:q}"


rule configured_study:
    input:
        csv=f"{RESULTS}/{{name}}.csv",
        markdown=f"{RESULTS}/{{name}}.md",
        sidecar=f"{RESULTS}/{{name}}.json",
        code=code("report.configured"),
    output:
        csv="results/{name}.csv",
        markdown="results/{name}.md",
        sidecar="results/{name}.json",
    log:
        f"{LOGS}/configured/{{name}}.log",
    benchmark:
        f"{LOGS}/configured/{{name}}.benchmark.tsv"
    wildcard_constraints:
        name="|".join(PLAN.configured()) or "none",
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("configured_study"),
        runtime=minutes("configured_study"),
    params:
        values=lambda w: call(),
        paths=lambda w, input, output: call(
            copies={
                output.csv: input.csv,
                output.markdown: input.markdown,
                output.sidecar: input.sidecar,
            },
        ),
    message:
        "{output.csv} is {input.csv}"
    shell:
        "python workflow/scripts/stage.py report.configured {params.values:q} {params.paths:q} {log:q}"
