"""docs/cli.md says what `--help` says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cli_reference

from influence_store import settings
from influence_store.cli import cli


def test_the_page_is_what_the_code_says():
    told = cli_reference.FILE.read_text()
    # In a process of its own: a verb remembers the help option of its first context, and another
    # test may have called it alone.
    script = [sys.executable, cli_reference.__file__, "--print"]
    now = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    # Where lines are broken is click's affair.
    assert told.split() == now.split(), "run: python tests/cli_reference.py"


def test_every_verb_exit_code_and_variable_is_on_the_page():
    told = cli_reference.FILE.read_text()
    assert set(re.findall(r"^### (\S+)$", told, re.MULTILINE)) == set(cli.commands)
    assert set(re.findall(r"^\| (\d+) \|", told, re.MULTILINE)) == {
        *map(str, range(10)),
        "130",
        "141",
    }
    variables = {value for name, value in vars(settings).items() if name.endswith("_VARIABLE")}
    assert variables == set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE))


def test_a_shell_completes_a_verb_and_an_option():
    told = {"_INFLUENCE_STORE_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    for typed, found in (
        ("influence-store query --for", "--format"),
        ("influence-store -q rec", "receipt"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "influence_store.cli"],
            env={**os.environ, **told, "COMP_WORDS": typed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [f"plain,{found}"]
