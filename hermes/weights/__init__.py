"""From a published checkpoint to a model folder that `hermes predict` takes.

The published rows of task priors follow one another dataset by dataset, the classes of each in the
order of their label values; the modalities stand in our order. How scans are prepared is that of
the paper's study.
"""

from pathlib import Path

from hermes.config.registry import MODALITIES, tasks_of
from hermes.config.study import load_plan
from hermes.models.build import ModelSpec, count_parameters, save_model
from hermes.weights.published import import_published, read_state, task_rows

ORDER = "lits kits amos_ct amos_mr bcv ss_t chaos ss_h mnms dlbs autopet".split()
"""Datasets in the order of the published rows (`dataset_lab_map` of the paper's code)."""


def import_weights(source: Path, out: Path, config: Path) -> ModelSpec:
    """Write a published network as a model folder and return its specification.

    Args:
        source: the checkpoint, .pth or .safetensors; read as tensors alone, no code in it is run.
        out: folder for `model.safetensors` and `model.json`.
        config: the folder `config/`.

    Raises:
        ValueError: not the weights of a published Hermes, or not of the eleven datasets.
    """
    plan = load_plan(config, "paper")
    cards = [plan.cards[name] for name in ORDER]
    tasks = list(tasks_of(cards))
    state = read_state(source)
    rows = task_rows(state)
    if rows < len(tasks):
        raise ValueError(
            f"{source}: {rows} tasks, but the eleven datasets have {len(tasks)}: weights of "
            "another setting; name their tasks with hermes.weights.published.import_published"
        )
    spare = [f"published/{row}" for row in range(len(tasks), rows)]  # rows that nothing trained
    datasets = {card.name: card.tasks for card in cards}
    model, spec = import_published(state, [*tasks, *spare], MODALITIES, datasets)
    run = "hermes-r" if spec.backbone == "resunet" else "hermes-m"
    extra = {
        "run": f"imported from {source.name}",
        "parameters": count_parameters(model),
        "preparation": plan.preparation(ORDER),
        "training": plan.training(run),
    }
    save_model(out, model, spec, extra)
    return spec
