# in:  a trained model, and the test cases of a dataset
# out: results/<study>/predictions/<run>/<dataset>/: a segmentation on each scan's own grid


rule predict:
    input:
        model=rules.train.output.model,
        description=rules.train.output.description,
        cases=rules.preprocess.output.cases,
        split=rules.split.output.split,
        code=code("predict"),
    output:
        manifest=f"{RESULTS}/predictions/{{run}}/{{dataset}}/cases.tsv",
    log:
        f"logs/{STUDY}/predict/{{run}}/{{dataset}}.log",
    priority: 5
    threads: PLAN.study.train.threads
    resources:
        gpu=GPU,
    params:
        values=lambda w: call(
            name=w.run,
            dataset=w.dataset,
            prediction=PLAN.study.predict.model_dump(),
            **test_crop(),
        ),
        paths=lambda w, input, output, threads: call(
            model=input.model,
            folder=str(Path(input.cases).parent),
            split=input.split,
            out=output.manifest,
            device=config["device"],
            threads=threads,
        ),
    message:
        "Predict: {wildcards.dataset} by {wildcards.run}"
    shell:
        "{STAGE} predict {params.values:q} {params.paths:q} {log:q}"
