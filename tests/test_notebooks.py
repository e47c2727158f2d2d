"""The notebooks run on the files of demo runs from the first to the last cell, and are committed without output."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_notebooks_are_committed_without_output():
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name


@pytest.mark.long
@pytest.mark.after_a_run
def test_notebooks_run_on_demo_data(run, project):
    run(params={"training.seed": 1}, tags=["training", "prediction", "scores", "tables"])
    shutil.copytree(NOTEBOOKS, project / "notebooks")
    for path in sorted((project / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
        assert any(
            output.get("data", {}).get("image/png") for cell in notebook.cells for output in cell.get("outputs", [])
        )
