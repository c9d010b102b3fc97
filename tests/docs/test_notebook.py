"""docs/notebook.ipynb runs in a kernel of its own, and is stored without output."""

from __future__ import annotations

import json
import os

import pytest
from docs_blocks import ROOT

FILE = ROOT / "docs" / "notebook.ipynb"


def test_no_output_is_stored():
    cells = json.loads(FILE.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}


@pytest.mark.filterwarnings("default")  # of Jupyter's own libraries
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'influence-store[dev]'")
    pytest.importorskip("ipykernel", reason="pip install 'influence-store[dev]'")
    import nbformat

    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(one for one in search if one))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(FILE, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    told = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "90 rows" in told
    assert "9 samples of demo@1" in told
    assert told.count("IN ") == told.count("OUT ") == 1
