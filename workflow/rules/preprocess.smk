# in:  data/<study>/canonical/<dataset>/
# out: data/<study>/preprocessed/<dataset>/: chunked arrays on the training grid, cases.tsv
# The cases of a large dataset are shared out in blocks, a job each; `preprocess` then finds them done
# and gathers them, or does whatever is not. Converting has no blocks: a job per dataset, cases in parallel.


rule preprocess_block:
    input:
        cases=rules.convert.output.cases,
        code=code("preprocess"),
    output:
        cases=temp(f"{DATA}/preprocessed/{{dataset}}/block_{{block}}_of_{{blocks}}.tsv"),
    log:
        f"{LOGS}/preprocess/{{dataset}}_{{block}}_of_{{blocks}}.log",
    benchmark:
        f"{LOGS}/preprocess/{{dataset}}_{{block}}_of_{{blocks}}.benchmark.tsv"
    wildcard_constraints:
        block="[0-9]+",
        blocks="[0-9]+",
    priority: 71
    conda:
        environment
    threads: WORKERS
    resources:
        mem_mb=memory("preprocess_block"),
        runtime=minutes("preprocess_block"),
    params:
        strict=STRICT,
        values=lambda w: call(
            **preprocessing(w.dataset), block=[int(w.block) - 1, int(w.blocks)]
        ),
        paths=lambda w, input, output, threads: call(
            cases=input.cases,
            out=output.cases,
            workers=threads,
        ),
    message:
        "Preprocess: {wildcards.dataset}, block {wildcards.block} of {wildcards.blocks}"
    shell:
        "python workflow/scripts/stage.py preprocess {params.values:q} {params.paths:q} {log:q}"


rule preprocess:
    input:
        cases=rules.convert.output.cases,
        blocks=lambda w: blocks_of(w.dataset),
        code=code("preprocess"),
    output:
        cases=f"{DATA}/preprocessed/{{dataset}}/cases.tsv",
    log:
        f"{LOGS}/preprocess/{{dataset}}.log",
    benchmark:
        f"{LOGS}/preprocess/{{dataset}}.benchmark.tsv"
    priority: 70
    conda:
        environment
    threads: WORKERS
    resources:
        mem_mb=memory("preprocess"),
        runtime=minutes("preprocess"),
    params:
        strict=STRICT,
        values=lambda w: call(**preprocessing(w.dataset)),
        paths=lambda w, input, output, threads: call(
            cases=input.cases,
            out=output.cases,
            workers=threads,
        ),
    message:
        "Preprocess: {wildcards.dataset} to the training grid"
    shell:
        "python workflow/scripts/stage.py preprocess {params.values:q} {params.paths:q} {log:q}"
