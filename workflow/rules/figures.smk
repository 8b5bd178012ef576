# in:  trainings' metrics, tables of Dice, predictions and canonical cases
# out: results/<study>/figures/: training and dice (.svg, .png), overlay_<dataset>.png


rule training_curves:
    input:
        metrics=expand(rules.train.output.metrics, run=PLAN.scored_runs()),
        code=code("report.training_curves"),
    output:
        svg=report(
            f"{RESULTS}/figures/training.svg",
            caption="../report/training.rst",
            category="Figures",
            labels={"figure": "trainings"},
        ),
        png=f"{RESULTS}/figures/training.png",
    log:
        f"{LOGS}/figures/training.log",
    benchmark:
        f"{LOGS}/figures/training.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("training_curves"),
        runtime=minutes("training_curves"),
    params:
        values=lambda w: call(runs=PLAN.scored_runs(), label=PLAN.study.label),
        paths=lambda w, input, output: call(
            metrics=list(input.metrics),
            svg=output.svg,
            png=output.png,
        ),
    message:
        "Figure: loss and learning rate of every training"
    shell:
        "python workflow/scripts/stage.py report.training_curves {params.values:q} {params.paths:q} {log:q}"


rule dice_chart:
    input:
        intervals=f"{RESULTS}/{MAIN_TABLE}_intervals.csv",
        code=code("report.dice_chart"),
    output:
        svg=report(
            f"{RESULTS}/figures/dice.svg",
            caption="../report/dice.rst",
            category="Figures",
            labels={"figure": "Dice"},
        ),
        png=f"{RESULTS}/figures/dice.png",
    log:
        f"{LOGS}/figures/dice.log",
    benchmark:
        f"{LOGS}/figures/dice.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("dice_chart"),
        runtime=minutes("dice_chart"),
    params:
        values=lambda w: call(**charted(MAIN_TABLE), label=PLAN.study.label),
        paths=lambda w, input, output: call(
            intervals=input.intervals,
            svg=output.svg,
            png=output.png,
        ),
    message:
        "Figure: Dice of every model, with intervals"
    shell:
        "python workflow/scripts/stage.py report.dice_chart {params.values:q} {params.paths:q} {log:q}"


rule overlay:
    input:
        predictions=lambda w: [
            f"{RESULTS}/predictions/{run}/{w.dataset}/cases.tsv"
            for run in runs_on(w.dataset)
        ],
        cases=rules.convert.output.cases,
        code=code("report.overlays"),
    output:
        picture=report(
            f"{RESULTS}/figures/overlay_{{dataset}}.png",
            caption="../report/overlay.rst",
            category="Pictures",
            labels={"dataset": "{dataset}"},
        ),
    log:
        f"{LOGS}/overlay/{{dataset}}.log",
    benchmark:
        f"{LOGS}/overlay/{{dataset}}.benchmark.tsv"
    conda:
        environment
    threads: 1
    resources:
        mem_mb=memory("overlay"),
        runtime=minutes("overlay"),
    params:
        values=lambda w: call(
            dataset=w.dataset,
            title=PLAN.cards[w.dataset].title,
            structures=[
                vars(PLAN.structures[s]) for s in PLAN.cards[w.dataset].structures
            ],
            runs=runs_on(w.dataset),
            label=PLAN.study.label,
            window=[-160, 240] if PLAN.cards[w.dataset].modality == "ct" else None,
        ),
        paths=lambda w, input, output: call(
            predictions=list(input.predictions),
            canonical=str(Path(input.cases).parent),
            picture=output.picture,
        ),
    message:
        "Picture: {wildcards.dataset}, reference and prediction over the scan"
    shell:
        "python workflow/scripts/stage.py report.overlays {params.values:q} {params.paths:q} {log:q}"
