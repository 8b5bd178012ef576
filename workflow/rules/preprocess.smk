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
        call=lambda w, input, output, threads: call(
            dataset=w.dataset,
            canonical=f"{DATA}/canonical/{w.dataset}",
            cases=input.cases,
            folder=f"{DATA}/preprocessed/{w.dataset}",
            out=output.cases,
            classes=len(PLAN.cards[w.dataset].labels),
            seed=PLAN.study.seed,
            workers=threads,
            **{
                key: value
                for key, value in PLAN.preparation([w.dataset])[w.dataset].items()
                if key != "modality"
            },
        ),
    message:
        "Preprocess: {wildcards.dataset} to the training grid"
    shell:
        "{STAGE} preprocess {params.call:q} {log:q}"
