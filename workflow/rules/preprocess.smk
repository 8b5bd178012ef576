# in:  data/<study>/canonical/<dataset>/
# out: data/<study>/preprocessed/<dataset>/: chunked arrays on the training grid, cases.tsv


rule preprocess:
    input:
        cases=rules.convert.output.cases,
        code=code("preprocess"),
    output:
        cases=f"{DATA}/preprocessed/{{dataset}}/cases.tsv",
    log:
        f"logs/{STUDY}/preprocess/{{dataset}}.log",
    priority: 70
    threads: WORKERS
    params:
        values=lambda w: call(
            dataset=w.dataset,
            canonical=f"{DATA}/canonical/{w.dataset}",
            folder=f"{DATA}/preprocessed/{w.dataset}",
            classes=len(PLAN.cards[w.dataset].labels),
            spacing_mm=PLAN.spacing_mm(w.dataset),
            keep_native_z=w.dataset in PLAN.study.preprocess.keep_native_z,
            intensity=PLAN.intensity(w.dataset),
            seed=PLAN.study.seed,
        ),
        paths=lambda w, input, output, threads: call(
            cases=input.cases,
            out=output.cases,
            workers=threads,
        ),
    message:
        "Preprocess: {wildcards.dataset} to the training grid"
    shell:
        "{STAGE} preprocess {params.values:q} {params.paths:q} {log:q}"
