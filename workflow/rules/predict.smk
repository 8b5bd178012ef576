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
        call=lambda w, input, output, threads: call(
            name=w.run,
            model=input.model,
            dataset=w.dataset,
            folder=str(Path(input.cases).parent),
            split=input.split,
            out=output.manifest,
            prediction=PLAN.study.predict.model_dump(),
            device=config["device"],
            threads=threads,
        ),
    message:
        "Predict: {wildcards.dataset} by {wildcards.run}"
    shell:
        "{STAGE} predict {params.call:q} {log:q}"
