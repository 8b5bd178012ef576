# in:  data/<study>/canonical/<dataset>/cases.tsv
# out: results/<study>/splits/<dataset>.tsv: case, patient, split


rule split:
    input:
        cases=rules.convert.output.cases,
        code=code("split"),
    output:
        split=f"{RESULTS}/splits/{{dataset}}.tsv",
    log:
        f"logs/{STUDY}/split/{{dataset}}.log",
    priority: 75
    threads: 1
    params:
        values=lambda w: call(
            dataset=w.dataset,
            rule=PLAN.cards[w.dataset].split.model_dump(),
            seed=PLAN.study.seed,
            **expected(w.dataset),
        ),
        paths=lambda w, input, output: call(cases=input.cases, out=output.split),
    message:
        "Split: patients of {wildcards.dataset} into train, val and test"
    shell:
        "{STAGE} split {params.values:q} {params.paths:q} {log:q}"
