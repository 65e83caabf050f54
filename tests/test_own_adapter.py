"""`pytest --adapter`: the contract accepts a right adapter and rejects a broken one for the right reason."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "examples"


def referee(adapter):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--adapter", adapter]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=EXAMPLES, env=environment, capture_output=True, encoding="utf-8")


def verdicts(output):
    """{promise: holds or FAILS} from the table."""
    return {number: verdict for number, verdict in re.findall(r"^  (P\d+) .* (holds|FAILS)$", output, re.MULTILINE)}


def test_a_right_adapter_keeps_every_promise():
    done = referee("dora:DoRA")
    assert done.returncode == 0, done.stdout
    assert "Contract of DoRA" in done.stdout
    assert verdicts(done.stdout) == dict.fromkeys([f"P{n}" for n in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13)], "holds")


def test_a_broken_adapter_fails_the_promise_that_it_breaks_and_no_other():
    done = referee("broken_dora:BrokenDoRA")
    assert done.returncode == 1
    found = verdicts(done.stdout)
    assert [number for number, verdict in found.items() if verdict == "FAILS"] == ["P2"]
    assert len(found) == 11


@pytest.mark.parametrize("name", ["nothing_here:DoRA", "dora:Dora", "dora", ":DoRA"])
def test_a_class_that_is_not_there_is_a_usage_error(name):
    done = referee(name)
    assert done.returncode == 4
    assert f"--adapter {name}" in done.stderr
    assert "mymodule:MyAdapter" in done.stderr
