# in:  nothing (the phantom is made) or the card's archives (downloaded, or the user's own copy)
# out: data/<study>/raw/<dataset>/ in the layout its owners publish, and a manifest beside it

if PLAN.study.kind == "phantom":

    rule phantom:
        input:
            code=code("phantom"),
        output:
            manifest=f"{DATA}/raw/{{dataset}}.json",
        log:
            f"{LOGS}/phantom/{{dataset}}.log",
        benchmark:
            f"{LOGS}/phantom/{{dataset}}.benchmark.tsv"
        priority: 90
        conda:
            environment
        threads: WORKERS
        resources:
            mem_mb=memory("phantom"),
            runtime=minutes("phantom"),
        params:
            strict=STRICT,
            values=lambda w: call(
                dataset=w.dataset,
                raw=f"{DATA}/raw/{w.dataset}",
                patients=PLAN.study.phantom.patients[w.dataset],
                seed=PLAN.study.seed,
                voxel_scale=PLAN.voxel_scale(w.dataset),
            ),
            paths=lambda w, output, threads: call(
                manifest=output.manifest,
                workers=threads,
            ),
        message:
            "Phantom: {wildcards.dataset} is imaged"
        shell:
            "python workflow/scripts/stage.py phantom {params.values:q} {params.paths:q} {log:q}"

else:

    from hermes.download.archives import describe
    from hermes.download.state import own_files

    rule download:
        input:
            code=code("download"),
        output:
            manifest=f"{DATA}/raw/{{dataset}}.json",
        log:
            f"{LOGS}/download/{{dataset}}.log",
        benchmark:
            f"{LOGS}/download/{{dataset}}.benchmark.tsv"
        priority: 90
        conda:
            environment
        # files read, unpacked and hashed at once; a download mostly waits, so four go side by side
        threads: max(1, WORKERS // 4)
        resources:
            mem_mb=memory("download"),
            runtime=minutes("download"),
        params:
            archives=lambda w: describe(PLAN.cards[w.dataset].archives),
            # a person's files that came, went or changed are listed again
            files=lambda w: own_files(
                Path(f"{DATA}/raw/{w.dataset}"), Path(f"{DATA}/raw/{w.dataset}.json")
            ),
            values=lambda w: call(
                card=f"config/datasets/{w.dataset}.yaml",
                raw=f"{DATA}/raw/{w.dataset}",
                cache=ARCHIVES,
            ),
            # consent and the mirror decide whether and whence files come, never which
            paths=lambda w, output, threads: call(
                manifest=output.manifest,
                mirror=config["mirror"] or "",
                accept=ACCEPT,
                columns=columns_of(w.dataset),
                connections=max(1, int(config["connections"])),
                workers=threads,
            ),
        message:
            "Download: {wildcards.dataset}"
        shell:
            "python workflow/scripts/stage.py download {params.values:q} {params.paths:q} {log:q}"
