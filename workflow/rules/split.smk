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
        call=lambda w, input, output: call(
            dataset=w.dataset,
            cases=input.cases,
            rule=PLAN.cards[w.dataset].split.model_dump(),
            seed=PLAN.study.seed,
            out=output.split,
            **expected(w.dataset),
        ),
    message:
        "Split: patients of {wildcards.dataset} into train, val and test"
    shell:
        "{STAGE} split {params.call:q} {log:q}"
