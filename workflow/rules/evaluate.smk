# in:  predictions of a run on a dataset, and the references on both grids
# out: results/<study>/scores/<run>/<dataset>.tsv: case, structure, metric, value, grid


rule evaluate:
    input:
        predictions=rules.predict.output.manifest,
        cases=rules.preprocess.output.cases,
        canonical=rules.convert.output.cases,
        code=code("evaluate"),
    output:
        scores=f"{RESULTS}/scores/{{run}}/{{dataset}}.tsv",
    log:
        f"{LOGS}/evaluate/{{run}}/{{dataset}}.log",
    benchmark:
        f"{LOGS}/evaluate/{{run}}/{{dataset}}.benchmark.tsv"
    priority: 5
    conda:
        environment
    threads: WORKERS
    resources:
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
    params:
        values=lambda w: call(
            dataset=w.dataset,
            structures=list(PLAN.cards[w.dataset].structures),
            **PLAN.study.evaluate.model_dump(),
        ),
        paths=lambda w, input, output, threads: call(
            predictions=input.predictions,
            folder=str(Path(input.cases).parent),
            canonical=str(Path(input.canonical).parent),
            out=output.scores,
            workers=threads,
        ),
    message:
        "Evaluate: {wildcards.run} on {wildcards.dataset}"
    shell:
        "python workflow/scripts/stage.py evaluate {params.values:q} {params.paths:q} {log:q}"
