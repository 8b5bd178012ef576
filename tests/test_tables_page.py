"""The page of all tables says what their Markdown says, and asks for nothing from elsewhere."""

from xml.etree import ElementTree

from hermes.report import tables_page
from hermes.report.markdown import grid_text

ROWS = [["CLIP-driven (no text)", "50.25", "-"], ["A & <B>", "+3.33* (+1 to +4)", "7.00"]]


def parsed(tmp_path, *texts):
    paths = [tmp_path / f"t{number}.md" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    page = tmp_path / "tables.html"
    tables_page.run(tables=paths, title="Study", label="A <label>", page=page)
    html = page.read_text()
    assert not [word for word in ("http", "src=", "url(", "@import", "<script") if word in html]
    body = html[html.index("<body>") : html.index("</body>")] + "</body>"
    return ElementTree.fromstring(body)


def test_every_cell_of_a_table_is_on_the_page(tmp_path):
    text = (
        f"# Dice\n\nStudy. **A label.**\nDice.\n\n## Grid\n\n{grid_text(['M', 'a', 'b'], ROWS)}\n"
    )
    body = parsed(tmp_path, text, "# Second\n")
    first, second = body.findall("section")
    assert [h.text for h in first if h.tag in ("h1", "h2")] == ["Dice", "Grid"]
    assert second.find("h1").text == "Second"
    assert "".join(first.find("p").itertext()) == "Study. A label. Dice."
    assert first.find("p/b").text == "A label."
    rows = first.findall(".//tbody/tr")
    assert [[cell.text for cell in row] for row in rows] == ROWS
    assert [cell.get("class") for cell in rows[0]] == [None, "n", "n"]
    assert [cell.text for cell in first.find(".//thead/tr")] == ["M", "a", "b"]
