# in:  data/<study>/raw/<dataset>.json, the manifest of the raw files
# out: data/<study>/canonical/<dataset>/: one image and one label map per case, cases.tsv, rejected.tsv
# A job per dataset, its cases in parallel; one that is broken off goes on with the cases not yet done.


rule convert:
    input:
        manifest=f"{DATA}/raw/{{dataset}}.json",
        code=code("convert"),
    output:
        cases=f"{DATA}/canonical/{{dataset}}/cases.tsv",
        rejected=f"{DATA}/canonical/{{dataset}}/rejected.tsv",
    log:
        f"{LOGS}/convert/{{dataset}}.log",
    benchmark:
        f"{LOGS}/convert/{{dataset}}.benchmark.tsv"
    priority: 80
    conda:
        environment
    threads: WORKERS
    resources:
        mem_mb=memory("convert"),
        runtime=minutes("convert"),
    params:
        reads=lambda w: PLAN.cards[w.dataset].model_dump(
            mode="json",
            include=set(READ_BY_CONVERT),
        ),
        values=lambda w: call(
            card=f"config/datasets/{w.dataset}.yaml",
            structures="config/structures.tsv",
            raw=f"{DATA}/raw/{w.dataset}",
            out=f"{DATA}/canonical/{w.dataset}",
        ),
        paths=lambda w, input, output, threads: call(
            manifest=input.manifest,
            cases=output.cases,
            rejected=output.rejected,
            workers=threads,
        ),
    message:
        "Convert: {wildcards.dataset} to one orientation and one label numbering"
    shell:
        "python workflow/scripts/stage.py convert {params.values:q} {params.paths:q} {log:q}"
