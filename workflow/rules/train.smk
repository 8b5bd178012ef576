# in:  preprocessed cases and splits of the run's datasets
# out: results/<study>/models/<run>/: model.safetensors, model.json, metrics.tsv
# The resumable state lies in results/<study>/checkpoints/, undeclared, so that a retry finds it.


rule train:
    input:
        cases=per_dataset(f"{DATA}/preprocessed/{{dataset}}/cases.tsv"),
        splits=per_dataset(f"{RESULTS}/splits/{{dataset}}.tsv"),
        code=code("train"),
    output:
        model=f"{RESULTS}/models/{{run}}/model.safetensors",
        description=f"{RESULTS}/models/{{run}}/model.json",
        metrics=f"{RESULTS}/models/{{run}}/metrics.tsv",
    log:
        f"logs/{STUDY}/train/{{run}}.log",
    priority: lambda w: 10 + len(PLAN.runs[w.run].datasets)
    threads: PLAN.study.train.threads
    resources:
        gpu=GPU,
    params:
        values=lambda w: call(
            name=w.run,
            method=PLAN.runs[w.run].method,
            backbone=PLAN.runs[w.run].backbone,
            options=PLAN.runs[w.run].options,
            datasets=PLAN.training_sets(w.run),
            training=PLAN.training(w.run),
            preparation=PLAN.preparation(PLAN.runs[w.run].datasets),
            seed=PLAN.study.seed,
        ),
        paths=lambda w, input, output, threads: call(
            folders=[str(Path(path).parent) for path in input.cases],
            splits=list(input.splits),
            model=output.model,
            metrics=output.metrics,
            checkpoint=f"{RESULTS}/checkpoints/{w.run}.pt",
            device=config["device"],
            threads=threads,
        ),
    message:
        "Train: {wildcards.run}"
    shell:
        "{STAGE} train {params.values:q} {params.paths:q} {log:q}"
