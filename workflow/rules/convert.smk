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
        f"logs/{STUDY}/convert/{{dataset}}.log",
    priority: 80
    threads: WORKERS
    resources:
        mem_mb=lambda w, threads: CASE_MB * threads,
    params:
        reads=lambda w: PLAN.cards[w.dataset].model_dump(
            mode="json",
            include={
                "images",
                "labels",
                "ignored_values",
                "unlisted_values",
                "modality",
                "sides",
            },
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
        "{STAGE} convert {params.values:q} {params.paths:q} {log:q}"
