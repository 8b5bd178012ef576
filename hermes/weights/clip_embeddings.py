"""Text embeddings of a study's tasks, for the CLIP-driven model.

    python -m hermes.weights.clip_embeddings --study paper --encoder FOLDER --out FILE

FOLDER is a local copy of CLIP ViT-B/32 in the layout of the package transformers (config.json, the
weights, vocab.json, merges.txt), which must be installed: it is no dependency of Hermes, and
nothing is fetched. A run then says `options: {embedding: file, path: data/clip.safetensors}`.

The published prompt, "A computerized tomography of a {class}", says CT of MR and PET images too,
and gives same-named classes of two datasets one embedding, so ours names modality and dataset.
Embeddings are the projected text features, not normalised, as published.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from hermes.config.registry import RegistryError, Structure, tasks_of
from hermes.config.schema import Card
from hermes.config.study import load_plan
from hermes.files.atomic import writing
from hermes.models.clip_driven import TEXT_SIZE

PROMPT = "{modality} scan of a {structure} in the dataset {dataset}"

Encoder = Callable[[Sequence[str]], Tensor]
"""Texts -> embeddings, a row each."""


def prompts_of(
    cards: Sequence[Card], structures: Mapping[str, Structure], prompt: str = PROMPT
) -> dict[str, str]:
    """Task -> its text; a task that datasets share names them all.

    Raises ValueError for a prompt with unknown fields, or that does not tell all tasks apart.
    """
    texts = {}
    for task in tasks_of(cards):
        owners = [card for card in cards if task in card.tasks]
        name = owners[0].structures[owners[0].tasks.index(task)]
        fields = {
            "modality": " or ".join(dict.fromkeys(card.modality_title for card in owners)),
            "structure": structures[name].title.lower(),
            "dataset": " or ".join(card.title for card in owners),
        }
        try:
            texts[task] = prompt.format(**fields)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise ValueError(f"prompt {prompt!r}: {error!r}; its fields are {known}") from error
    tasks_with: dict[str, list[str]] = {}
    for task, text in texts.items():
        tasks_with.setdefault(text, []).append(task)
    if alike := next((tasks for tasks in tasks_with.values() if len(tasks) > 1), None):
        raise ValueError(f"prompt {prompt!r} is the same for {', '.join(alike)}: name {{dataset}}")
    return texts


def clip_encoder(folder: str | Path) -> Encoder:
    """CLIP's text encoder from a local folder. Raises ValueError saying what to install or give."""
    try:
        from transformers import AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise ValueError(
            "the package transformers is missing: `pip install transformers`; Hermes needs it for"
            " this file alone"
        ) from error
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: no such folder: give a local copy of CLIP ViT-B/32")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: holds no CLIP text encoder and tokenizer: {error}") from error

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> Float[Tensor, "n e"]:
        tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
        return model(**tokens).text_embeds

    return encode


def write_embeddings(out: str | Path, texts: Mapping[str, str], encode: Encoder) -> None:
    """Write the file that `hermes.models.clip_driven` reads; the texts are kept in it.

    Raises ValueError for embeddings of another size than CLIP ViT-B/32's.
    """
    embeddings = encode(list(texts.values())).float().contiguous()
    if embeddings.shape != (len(texts), TEXT_SIZE):
        raise ValueError(
            f"the encoder makes {embeddings.shape[1]} numbers of a text: the CLIP-driven model"
            f" takes the {TEXT_SIZE} of CLIP ViT-B/32"
        )
    kept = {"tasks": json.dumps(list(texts)), "texts": json.dumps(list(texts.values()))}
    with writing(Path(out)) as aside:
        save_file({"embeddings": embeddings}, aside, metadata=kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hermes.weights.clip_embeddings")
    parser.add_argument("--study", required=True, help="whose tasks, a file in config/studies/")
    parser.add_argument("--encoder", required=True, help="folder of CLIP ViT-B/32")
    parser.add_argument("--out", required=True, help="safetensors file to write")
    parser.add_argument("--prompt", default=PROMPT, help=f"default: {PROMPT!r}")
    parser.add_argument("--config", default="config", help="folder of cards and studies")
    given = parser.parse_args(arguments)
    try:
        plan = load_plan(given.config, given.study)
        texts = prompts_of(list(plan.cards.values()), plan.structures, given.prompt)
        write_embeddings(given.out, texts, clip_encoder(given.encoder))
    except (RegistryError, ValueError) as error:
        print(f"clip_embeddings: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {len(texts)} tasks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
