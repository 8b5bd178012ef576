# in:  data/<study>/canonical/<dataset>/cases.tsv, the manifest of the raw files and, by the protocol
#      `reference`, the published code's split lists
# out: results/<study>/splits/<dataset>.tsv: case, patient, split; .notes.tsv beside it: what is worth
#      knowing of it; <dataset>_<percent>pct_<draw>.tsv: the same with a part of the training patients


rule reference_lists:
    input:
        source="config/published/split_lists.yaml",
        code=code("split.lists"),
    output:
        lists=LISTS,
    log:
        f"{LOGS}/split/reference_lists.log",
    benchmark:
        f"{LOGS}/split/reference_lists.benchmark.tsv"
    priority: 90
    retries: 1
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("reference_lists"),
        runtime=minutes("reference_lists"),
    params:
        values=lambda w, input: call(source=input.source, cache="data/archives"),
        paths=lambda w, output: call(out=output.lists, mirror=config["mirror"]),
    message:
        "Split: the published lists"
    shell:
        "python workflow/scripts/stage.py split.lists {params.values:q} {params.paths:q} {log:q}"


rule split:
    input:
        cases=rules.convert.output.cases,
        manifest=f"{DATA}/raw/{{dataset}}.json",
        lists=lambda w: split_lists(w.dataset) or [],
        code=code("split.stage"),
    output:
        split=f"{RESULTS}/splits/{{dataset}}.tsv",
        notes=f"{RESULTS}/splits/{{dataset}}.notes.tsv",
    log:
        f"{LOGS}/split/{{dataset}}.log",
    benchmark:
        f"{LOGS}/split/{{dataset}}.benchmark.tsv"
    priority: 75
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("split"),
        runtime=minutes("split"),
    params:
        values=lambda w: call(
            dataset=w.dataset,
            **splitting(w.dataset),
            **expected(w.dataset),
        ),
        paths=lambda w, input, output: call(
            cases=input.cases,
            manifest=input.manifest,
            lists=split_lists(w.dataset),
            out=output.split,
            notes=output.notes,
        ),
    message:
        "Split: patients of {wildcards.dataset} into train, val and test"
    shell:
        "python workflow/scripts/stage.py split {params.values:q} {params.paths:q} {log:q}"


rule split_fraction:
    input:
        split=rules.split.output.split,
        code=code("split.fractions"),
    output:
        split=f"{RESULTS}/splits/{{dataset}}_{{percent}}pct_{{draw}}.tsv",
    log:
        f"{LOGS}/split/{{dataset}}_{{percent}}pct_{{draw}}.log",
    benchmark:
        f"{LOGS}/split/{{dataset}}_{{percent}}pct_{{draw}}.benchmark.tsv"
    wildcard_constraints:
        percent=r"[0-9]+(\.[0-9]+)?",
        draw="[0-9]+",
    priority: 75
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("split_fraction"),
        runtime=minutes("split_fraction"),
    params:
        values=lambda w: call(
            dataset=w.dataset,
            percent=float(w.percent),
            draw=int(w.draw),
            seed=PLAN.study.seed,
        ),
        paths=lambda w, input, output: call(split=input.split, out=output.split),
    message:
        "Split: {wildcards.percent} % of the training patients of {wildcards.dataset}, draw"
        " {wildcards.draw}"
    shell:
        "python workflow/scripts/stage.py split.fractions {params.values:q} {params.paths:q} {log:q}"
