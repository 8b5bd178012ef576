"""Text embeddings: prompts that tell tasks apart, the file, and what is missing."""

import sys

import pytest
import torch
from method_cases import ROOT, paper_plan

from hermes.models.clip_driven import read_embeddings
from hermes.weights.clip_embeddings import main, prompts_of, write_embeddings


@pytest.fixture(scope="module")
def texts():
    return prompts_of(list(paper_plan().cards.values()), paper_plan().structures)


def encode(prompts):
    """An encoder that any text has its own numbers in."""
    numbers = [torch.Generator().manual_seed(sum(map(ord, prompt))) for prompt in prompts]
    return torch.stack([torch.randn(512, generator=generator) for generator in numbers])


def test_prompts_name_modality_and_dataset(texts):
    assert texts["lits/liver"] == "CT scan of a liver in the dataset LiTS"
    assert texts["chaos/liver"] == "T1 & T2 MRI scan of a liver in the dataset CHAOS"
    assert texts["autopet/lesion"].startswith("PET scan of a ")
    assert texts["amos/liver"] == (
        "CT or MRI scan of a liver in the dataset AMOS CT or AMOS MR"  # one task of two datasets
    )
    assert len(set(texts.values())) == len(texts) == 76  # 71, and five of the downstream datasets


def test_a_prompt_that_does_not_tell_tasks_apart_is_refused():
    plan = paper_plan()
    cards = list(plan.cards.values())
    with pytest.raises(ValueError, match=r"is the same for .*/.*, .*/.*: name \{dataset\}"):
        prompts_of(cards, plan.structures, "A computerized tomography of a {structure}")
    with pytest.raises(ValueError, match=r"KeyError\('organ'\).*\{structure\}"):
        prompts_of(cards, plan.structures, "A scan of {organ}")


def test_the_file_is_what_the_model_reads(texts, tmp_path):
    path = tmp_path / "clip.safetensors"
    write_embeddings(path, texts, encode)
    tasks = ["lits/liver", "amos/spleen"]
    found = read_embeddings(path, tasks)
    assert torch.equal(found, encode([texts[task] for task in tasks]))
    with pytest.raises(ValueError, match=r"makes 3 numbers.*512"):
        write_embeddings(path, texts, lambda prompts: torch.zeros(len(prompts), 3))
    assert [file.name for file in tmp_path.iterdir()] == ["clip.safetensors"]


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    arguments = ["--config", str(ROOT / "config"), "--encoder", str(tmp_path / "clip")]
    arguments += ["--out", str(tmp_path / "out.safetensors")]
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    assert main([*arguments, "--study", "paper"]) == 1
    assert "pip install transformers" in capsys.readouterr().err
    assert main([*arguments, "--study", "papr"]) == 1
    assert "did you mean 'paper'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
