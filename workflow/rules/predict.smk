# in:  a trained model, and the test cases of a dataset
# out: results/<study>/predictions/<run>/<dataset>/: a segmentation on each scan's own grid
# The cases of a large dataset are shared out in shards, a job each; `predict` then gathers their manifests.


rule predict_shard:
    input:
        model=rules.train.output.model,
        description=rules.train.output.description,
        cases=rules.preprocess.output.cases,
        split=rules.split.output.split,
        code=code("predict"),
    output:
        manifest=temp(
            f"{RESULTS}/predictions/{{run}}/{{dataset}}/shard_{{shard}}_of_{{shards}}.tsv"
        ),
    log:
        f"{LOGS}/predict/{{run}}/{{dataset}}_{{shard}}_of_{{shards}}.log",
    benchmark:
        f"{LOGS}/predict/{{run}}/{{dataset}}_{{shard}}_of_{{shards}}.benchmark.tsv"
    wildcard_constraints:
        shard="[0-9]+",
        shards="[0-9]+",
    priority: 6
    conda:
        environment
    threads: PLAN.study.train.threads
    resources:
        mem_mb=memory("predict_shard"),
        runtime=minutes("predict_shard"),
        gpu=GPU,
    params:
        strict=STRICT,
        values=lambda w: call(
            **prediction(w.run, w.dataset), shard=[int(w.shard) - 1, int(w.shards)]
        ),
        paths=lambda w, input, output: call(
            **predicting(input, output.manifest), shards=[]
        ),
    message:
        "Predict: {wildcards.dataset} by {wildcards.run}, shard {wildcards.shard} of"
        " {wildcards.shards}"
    shell:
        "python workflow/scripts/stage.py predict {params.values:q} {params.paths:q} {log:q}"


rule predict:
    input:
        model=rules.train.output.model,
        description=rules.train.output.description,
        cases=rules.preprocess.output.cases,
        split=rules.split.output.split,
        shards=lambda w: shards_of(w.run, w.dataset),
        code=code("predict"),
    output:
        manifest=f"{RESULTS}/predictions/{{run}}/{{dataset}}/cases.tsv",
    log:
        f"{LOGS}/predict/{{run}}/{{dataset}}.log",
    benchmark:
        f"{LOGS}/predict/{{run}}/{{dataset}}.benchmark.tsv"
    priority: 5
    conda:
        environment
    threads: PLAN.study.train.threads
    resources:
        mem_mb=memory("predict"),
        runtime=minutes("predict"),
        gpu=GPU,
    params:
        strict=STRICT,
        values=lambda w: call(**prediction(w.run, w.dataset)),
        paths=lambda w, input, output: call(
            **predicting(input, output.manifest), shards=list(input.shards)
        ),
    message:
        "Predict: {wildcards.dataset} by {wildcards.run}"
    shell:
        "python workflow/scripts/stage.py predict {params.values:q} {params.paths:q} {log:q}"
