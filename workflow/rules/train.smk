# in:  preprocessed cases and splits of the run's datasets
# out: results/<study>/models/<run>/: model.safetensors, model.json, metrics.tsv, origin.json
# logs/<study>/train/<run>.curve.tsv: the metrics so far, to look at while it runs.
# The resumable state lies in results/<study>/checkpoints/, undeclared, so that a retry finds it.
# A training told to stop ends with status 75: a retry, or the next invocation, goes on from its state.

from hermes.config.study_schema import MACHINE


rule train:
    input:
        cases=per_dataset(f"{DATA}/preprocessed/{{dataset}}/cases.tsv"),
        splits=per_dataset(f"{RESULTS}/splits/{{dataset}}.tsv"),
        code=code("train"),
    output:
        model=f"{RESULTS}/models/{{run}}/model.safetensors",
        description=f"{RESULTS}/models/{{run}}/model.json",
        metrics=f"{RESULTS}/models/{{run}}/metrics.tsv",
        origin=f"{RESULTS}/models/{{run}}/origin.json",
    log:
        f"{LOGS}/train/{{run}}.log",
    benchmark:
        f"{LOGS}/train/{{run}}.benchmark.tsv"
    priority: lambda w: 10 + len(PLAN.runs[w.run].datasets)
    conda:
        environment
    threads: lambda w: PLAN.training(w.run)["threads"] * ranks_of(w.run)
    resources:
        **across_nodes(),
        mem_mb=memory("train", lambda w: ranks_of(w.run) // NODES),
        runtime=minutes("train"),
        gpu=lambda w: ranks_of(w.run) if GPU and NODES == 1 else 0,
    params:
        strict=STRICT,
        values=lambda w: call(
            name=w.run,
            method=PLAN.runs[w.run].method,
            backbone=PLAN.runs[w.run].backbone,
            options=PLAN.options(w.run),
            datasets=PLAN.training_sets(w.run),
            training={
                key: value
                for key, value in PLAN.training(w.run).items()
                if key not in MACHINE
            },
            preparation=PLAN.preparation(PLAN.runs[w.run].datasets),
            seed=PLAN.study.seed,
        ),
        # threads are the study's, however many cores there are: their number decides how sums round
        paths=lambda w, input, output: call(
            folders=[str(Path(path).parent) for path in input.cases],
            splits=list(input.splits),
            model=output.model,
            metrics=output.metrics,
            origin=output.origin,
            checkpoint=f"{RESULTS}/checkpoints/{w.run}.pt",
            curve=f"{LOGS}/train/{w.run}.curve.tsv",
            device=config["device"],
            machine={key: PLAN.training(w.run)[key] for key in MACHINE},
            threads=PLAN.training(w.run)["threads"],
            ranks=ranks_of(w.run),
            nodes=NODES,
            gpus=taken(ranks_of(w.run) if GPU else 0),
            strict=STRICT,
        ),
    message:
        "Train: {wildcards.run}"
    shell:
        "python workflow/scripts/stage.py train {params.values:q} {params.paths:q} {log:q}"
