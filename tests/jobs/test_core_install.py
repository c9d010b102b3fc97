"""Query, fill, select and export need ONNX Runtime, and nothing of the `train` extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_TRAIN = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "onnx", "safetensors",
                                  "gguf", "accelerate", "peft"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from influence_store.cli import main
main()
"""


def bare(run, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAIN, "--store", str(run.root), *arguments],
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_core_verbs_run_without_torch(stages, tmp_path):
    run = stages.copy_after("train", tmp_path / "store")
    for command in (
        ["status"],
        ["fill", "demo"],
        ["query", "select max(est_delift_l2) from demo"],
        ["select", "demo", "--budget", "5", "--accept-weak"],
        ["select", "demo", "--budget", "5", "--objective", "k-center"],
        ["methods"],
    ):
        done = bare(run, *command)
        assert done.returncode == 0, done.stderr
    selection = run.json("query", "select id from selections")[0]
    done = bare(run, "export", selection["id"], "--to", "trl", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr


def test_labelling_without_torch_says_what_to_install(stages, tmp_path):
    run = stages.copy_before("label", tmp_path / "store")
    done = bare(run, *stages.commands["label"])
    assert done.returncode == 8
    assert "pip install 'influence-store[train]'" in done.stderr
    assert "Traceback" not in done.stderr
