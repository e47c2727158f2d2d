"""Reading and writing of PH2_dataset.txt, the annotation table of PH2."""

import re

import pandas as pd

from lesion_segmentation.core.errors import InputError, pluralize

_PRESENCE = {"A": "absent", "AT": "atypical", "P": "present", "T": "typical"}
_DIAGNOSIS = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
_ASYMMETRY = {"0": "fully symmetric", "1": "symmetric in one axis", "2": "fully asymmetric"}
_COLOR = {"1": "white", "2": "red", "3": "light brown", "4": "dark brown", "5": "blue gray", "6": "black"}

# The columns in the order of the file, each with the words of its codes. Other cells stay unchanged.
_LEGENDS: dict[str, dict[str, str] | None] = {
    "case_id": None,
    "histological_diagnosis": None,
    "diagnosis": _DIAGNOSIS,
    "asymmetry": _ASYMMETRY,
    "pigment_network": _PRESENCE,
    "dots_globules": _PRESENCE,
    "streaks": _PRESENCE,
    "regression_areas": _PRESENCE,
    "blue_whitish_veil": _PRESENCE,
    "colors": _COLOR,
}
ANNOTATION_COLUMNS = tuple(_LEGENDS)
ANNOTATIONS = "PH2_dataset.txt"
"""Name of the file in PH2."""
HEADER = (
    "||   Name ||  Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network | Dots/Globules "
    "| Streaks | Regression Areas | Blue-Whitish Veil ||           Colors ||"
)


def parse_annotations(text: str) -> pd.DataFrame:
    """Parse PH2's annotation table and translate its codes to words.

    Cells may be empty: 159 cases of PH2 have no histological diagnosis, and in a copy without annotations, all cells
    except case_id are empty.

    Returns:
        One row per case, in the order of the file, with the columns ANNOTATION_COLUMNS, all of them text. Several
        colours are joined by ", ". Empty cells are empty strings.
    """
    lines = [line for line in text.splitlines() if line.startswith("||") and "Name" not in line]
    problems: list[str] = []
    rows = [row for line in lines if (row := _parse_line(line, problems))]
    table = pd.DataFrame(rows, columns=list(ANNOTATION_COLUMNS), dtype=str)
    repeated = table["case_id"][table["case_id"].duplicated()]
    problems += [f"{case_id}: it is listed twice" for case_id in repeated]
    if problems:
        remedy = "Copy the file from the original PH2 (make ph2 FROM=...)."
        raise InputError.from_problems(ANNOTATIONS, problems, remedy)
    return table


def format_annotations(codes: pd.DataFrame) -> str:
    """Format a table as the text of PH2_dataset.txt, which `parse_annotations` reads.

    The columns are ANNOTATION_COLUMNS, in this order, with PH2's codes. Several colour codes are separated by spaces.
    """
    lines = [HEADER]
    for row in codes.itertuples(index=False):
        name, histology, diagnosis, *middle, colors = (str(cell) for cell in row)
        lines.append(f"|| {name} || {histology} || {diagnosis} || {' | '.join(middle)} || {colors} ||")
    return "\n".join(lines) + "\n"


def _parse_line(line: str, problems: list[str]) -> list[str] | None:
    cells = [cell.strip() for cell in re.split(r"\|\|?", line.strip().removeprefix("||").removesuffix("||"))]
    if len(cells) != len(ANNOTATION_COLUMNS):
        problems.append(f"{line.strip()[:40]}...: {pluralize(len(cells), 'cell')}, expected {len(ANNOTATION_COLUMNS)}")
        return None
    return [_decode(cells[0], column, cell, problems) for column, cell in zip(ANNOTATION_COLUMNS, cells, strict=True)]


def _decode(case_id: str, column: str, cell: str, problems: list[str]) -> str:
    legend = _LEGENDS[column]
    if legend is None or not cell:
        return cell
    codes = cell.split() if column == "colors" else [cell]
    unknown = [code for code in codes if code not in legend]
    if unknown:
        problems.append(f"{case_id}: {column} is {', '.join(unknown)}, expected one of {', '.join(legend)}")
    return ", ".join(legend.get(code, code) for code in codes)
