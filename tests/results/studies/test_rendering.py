"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
from math import nan

from results.studies.rendering import Table, render

TABLE = Table(
    "Two & a half_measures",
    ("name", "MMLU, %"),
    [("a|b", "1.5 ±0.5 (2)"), ("c_d\n& e", "missing")],
    ["50 % of_it # here"],
    [{"name": "a|b", "value": 1 / 3, "n": 2}, {"name": "c_d", "value": nan, "n": None}],
)


def test_markdown_keeps_a_row_in_a_line_and_a_bar_in_a_cell() -> None:
    assert render(TABLE, "markdown").splitlines() == [
        "**Two & a half_measures**",
        "",
        "| name    | MMLU, %      |",
        "|:--------|:-------------|",
        "| a\\|b    | 1.5 ±0.5 (2) |",
        "| c_d & e | missing      |",
        "",
        "- 50 % of_it # here",
    ]


def test_latex_escapes_what_latex_reads() -> None:
    text = render(TABLE, "latex")
    assert "\\caption{Two \\& a half\\_measures}" in text
    assert "c\\_d \\& e" in text
    assert "1.5 $\\pm$0.5 (2)" in text
    assert "MMLU, \\%" in text
    assert "50 \\% of\\_it \\# here" in text
    assert text.startswith("\\begin{table}") and text.endswith("\\end{table}")
    assert "\\toprule" in text


def test_csv_has_the_figures_and_leaves_the_unknown_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(render(TABLE, "csv"))))
    assert rows == [
        {"name": "a|b", "value": "0.3333333333", "n": "2"},
        {"name": "c_d", "value": "", "n": ""},
    ]


def test_a_table_without_records_gives_its_rows() -> None:
    plain = Table("t", ("a", "b"), [("1", "x,y")])
    assert render(plain, "csv") == 'a,b\n1,"x,y"'
    assert render(plain, "markdown").endswith("| x,y |")
