# What the rules of the data stages use: facts of datasets, splits, and what of the data is in place.


def trained():
    """Datasets of the study that some run trains on."""
    return [name for name, card in PLAN.cards.items() if card.role != "downstream"]


def expected(name):
    """How many patients, images and empty images a dataset should hold, and what is unsure of it."""
    known = PLAN.cards[name].published
    if PLAN.study.kind == "phantom":
        counts, unsure = {"patients": PLAN.study.phantom.patients[name]}, []
    else:
        keys = ("patients", "images", "empty")
        values = {key: getattr(known, key, None) for key in keys}
        counts = {key: n for key, n in values.items() if n is not None}
        unsure = known.unsure if known else []
    return {"expected": counts, "unsure": unsure}


def split_lists(name):
    """The published split lists, where a dataset's split follows them; empty elsewhere."""
    follows = PLAN.study.protocol.split == "reference"
    return LISTS if follows and PLAN.cards[name].split.reference else ""


def splitting(name):
    """How the split of a dataset is made."""
    return {
        "protocol": PLAN.study.protocol.split,
        "rule": PLAN.cards[name].split.model_dump(exclude={"fractions", "draws"}),
        "seed": PLAN.study.seed,
    }


def fraction_split(name, percent, draw):
    """The split of which only a part of the training patients is left; draws count from 1."""
    return f"{RESULTS}/splits/{name}_{percent:g}pct_{draw}.tsv"


def all_splits():
    """The split file of every dataset, and those of its fractions."""
    fractions = [
        fraction_split(name, percent, draw)
        for name, card in PLAN.cards.items()
        for percent in card.split.fractions
        for draw in range(1, 1 + (card.split.draws if percent < 100 else 1))
    ]
    return [*(f"{RESULTS}/splits/{name}.tsv" for name in PLAN.cards), *fractions]


def prepared():
    """All that a study's data come to: cases on the training grid, and who is in which part."""
    cases = expand(f"{DATA}/preprocessed/{{dataset}}/cases.tsv", dataset=PLAN.cards)
    return [*cases, *all_splits()]


def test_crop():
    """What is predicted of a test scan; the margin matters where it is cropped."""
    protocol = PLAN.study.protocol
    margin = 0 if protocol.test_crop == "none" else protocol.test_crop_margin
    return {"test_crop": protocol.test_crop, "test_crop_margin": margin}


def quality_facts(name):
    """What the quality report holds a dataset against.

    ASSUME: published spacings and volumes say nothing of the phantom, whose small structures are
    up to eight times larger than life (docs/phantom.md); its limits are widened by that.
    """
    card, phantom = PLAN.cards[name], PLAN.study.kind == "phantom"
    varying = card.published.varying_spacing if card.published else False
    return {
        "name": name,
        "title": card.title,
        "description": (
            "Synthetic patients, in the raw layout of this dataset."
            if phantom
            else card.description
        ),
        "labels": [
            {
                "structure": label.structure,
                "value": label.value,
                "median_ml": None if phantom else label.median_ml,
                **{
                    key: getattr(PLAN.structures[label.structure], key)
                    for key in (
                        "title",
                        "kind",
                        "colour",
                        "volume_ml_low",
                        "volume_ml_high",
                    )
                },
            }
            for label in card.labels
        ],
        "sides": card.sides,
        **expected(name),
        "varying_spacing": varying and not phantom,
        "volume_slack": 8 if phantom else 1,
        "intensity": PLAN.intensity(name),
        "spacing_mm": PLAN.spacing_mm(name),
    }


def dataset_facts(name):
    """What the dataset table says of a card."""
    card = PLAN.cards[name]
    return {
        "title": card.title,
        "region": card.region,
        "modality": card.modality_title,
        "clinical_target": card.clinical_target,
        "classes": len(card.labels),
        "role": card.role,
        "within_patient": card.split.within_patient,
        "paper_size": card.published.size if card.published else "",
    }


def licence_facts(name):
    """What the file of licences says of a card."""
    card = PLAN.cards[name]
    return {
        "name": name,
        "title": card.title,
        "licence": card.licence.model_dump(),
        "consent": card.consent,
        "citation": card.citation,
        "doi": card.doi,
        "page": card.access.url,
    }


def manifests():
    """Manifests of the raw folders of real scans; the phantom's say nothing of licences."""
    real = PLAN.study.kind == "real"
    return [f"{DATA}/raw/{name}.json" for name in PLAN.cards] if real else []


def columns_of(dataset):
    """Table -> titles of its columns that are made of a dataset."""
    found = {}
    for table in PLAN.tables.values():
        for column in table.columns:
            if dataset in [part.dataset for part in column.parts]:
                found.setdefault(table.name, []).append(column.title)
    return found


def standings():
    """How the datasets of a study of real scans stand, seen from the disk alone."""
    from hermes.download.mirror import read_mirror
    from hermes.download.survey import survey

    columns = {name: columns_of(name) for name in PLAN.cards}
    mirror = read_mirror(config["mirror"] or "")
    return survey(PLAN.cards, Path(DATA), Path(ARCHIVES), mirror, ACCEPT, columns)


def tell_standings():
    """Print what of the data is not in place, once, where a person sees it: also with -n."""
    if workflow.is_main_process and PLAN.study.kind == "real":
        from hermes.download.sizes import free_bytes
        from hermes.download.survey import report

        text = report(STUDY, standings(), free_bytes(Path(DATA)), ACCEPT)
        if text:
            print(text, file=sys.stderr)


def refuse_unaccepted():
    """Stop a run on data in place whose terms are not accepted; others stop at their download."""
    if PLAN.study.kind == "real":
        needs = [
            need for found in standings() if found.in_place for need in found.needs
        ]
        if needs:
            raise WorkflowError("\n".join(need.text for need in needs))


def refuse_without_gpus():
    """Stop trainings of real data on a cluster that would ask for no GPU without a word."""
    trainings = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "train"]
    if (
        trainings
        and workflow.non_local_exec
        and PLAN.study.kind == "real"
        and (config["gpus"], config["device"]) == ("auto", "auto")
        and not GPUS
    ):
        raise WorkflowError(
            "this machine has no GPU, and gpus=auto asks for as many as it has; on a cluster say "
            "--config gpus=1, or 2, 4, ..., for each training; or device=cpu to train on CPUs"
        )


def refuse_without_room():
    """Stop a run whose datasets to fetch do not fit together, before the first of them is begun.

    By onstart the jobs are known, so that datasets which this run leaves alone are not counted.
    """
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "download"]
    if jobs:
        from hermes.download.files import DownloadError
        from hermes.download.survey import check_total

        fetched = {job.wildcards.dataset for job in jobs}
        try:
            check_total(
                [s for s in standings() if s.name in fetched],
                Path(ARCHIVES),
                Path(DATA),
            )
        except DownloadError as error:
            raise WorkflowError(str(error)) from None
