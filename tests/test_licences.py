"""The file of licences beside a study's tables."""

import json

from hermes.report.licences import run

FACTS = {
    "name": "toy",
    "title": "Toy",
    "licence": {
        "name": "CC-BY-NC-4.0",
        "url": "https://toy.example/nc",
        "commercial": False,
        "redistribution": None,
        "note": "Sources agree.",
    },
    "consent": "not for commercial use",
    "citation": "A. Nobody. Toys. 2020.",
    "doi": "10.1/toy",
    "page": "https://toy.example",
}


def write(tmp_path, manifest, synthetic=False, **changes):
    (tmp_path / "toy.json").write_text(json.dumps(manifest))
    run(
        study="mine",
        title="Mine",
        synthetic=synthetic,
        datasets=[FACTS | changes],
        manifests={} if synthetic else {"toy": str(tmp_path / "toy.json")},
        out=tmp_path / "LICENSES.md",
    )
    return (tmp_path / "LICENSES.md").read_text()


def test_terms_source_and_citation_of_a_fetched_dataset(tmp_path):
    archives = [{"url": f"https://toy.example/{i}.nii"} for i in range(5)]
    text = write(tmp_path, {"source": "download", "archives": archives, "files": [{}] * 5})
    assert "## Toy (`toy`)" in text
    assert (
        "[CC-BY-NC-4.0](https://toy.example/nc). Commercial use: no; passing copies on: not" in text
    )
    assert "- Note: Sources agree." in text
    assert "only by who accepts its terms: not for commercial use." in text
    assert "`https://toy.example/2.nii` and 2 more; files: 5. Page: https://toy.example" in text
    assert "- Cite: A. Nobody. Toys. 2020. doi:10.1/toy" in text


def test_own_copy_says_so_and_nothing_is_accepted_where_nothing_must_be(tmp_path):
    text = write(tmp_path, {"source": "copy", "archives": [], "files": [{}]}, consent="")
    assert "own copy of who ran this, brought by hand; files: 1." in text
    assert "accepts" not in text


def test_synthetic_data_claim_nothing_of_the_datasets(tmp_path):
    text = write(tmp_path, {}, synthetic=True)
    assert "All data of this study are synthetic" in text
    assert "CC-BY-NC" not in text and "A. Nobody" not in text
