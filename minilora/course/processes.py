"""Check the answers of a file, each in a process of its own: a hang or a crash costs that one only.

python -m minilora.course.processes NUMBER FILE SEED RESULT       what such a process runs
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minilora.course.answers import UnreadableError, names_in, parse, run
from minilora.course.checking import LIMIT, check_exercise
from minilora.course.exercise import Exercise, all_exercises, find
from minilora.course.guard import Guard
from minilora.course.verdict import Verdict, refused

_START = 10.0  # seconds that a process may take to start and to import an answer
_LIMIT = LIMIT + _START


def check_file(number, path, *, seed=None):
    """The `Verdict` on the answer that a file has to the exercise of this number.

    Raises ValueError when no program checks such an exercise, and UnreadableError when there is no
    file. What is wrong within the file is part of the verdict.
    """
    one = find(number)
    try:
        tree = parse(path)
    except UnreadableError as error:
        if not Path(path).is_file():
            raise
        return refused(one, str(error))
    if one.name not in names_in(tree):
        return refused(one, f"{path} does not define {one.name}")
    return _in_a_process(one, path, seed)


def check_all(path, *, seed=None):
    """{number: Verdict} for all exercises whose answer a file defines.

    Raises UnreadableError when the file cannot be read or its syntax is wrong.
    """
    names = names_in(parse(path))
    there = [one for one in all_exercises() if isinstance(one, Exercise) and one.name in names]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        verdicts = pool.map(lambda one: _in_a_process(one, path, seed), there)
        return {one.number: verdict for one, verdict in zip(there, verdicts)}


def _in_a_process(one, path, seed):
    """The verdict of a process of its own; a sentence when it ends without one."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = [one.number, str(path), json.dumps(seed), str(result)]
        command = [sys.executable, "-m", "minilora.course.processes", *words]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return refused(one, f"{path} or {one.name} is not done after {_LIMIT:g} s")
        if result.exists():
            return Verdict(*json.loads(result.read_text(encoding="utf-8")))
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    reason = f": {last[0][:200]}" if last else ""
    return refused(one, f"the process ended with code {done.returncode} before its time{reason}")


def main(number, path, seed, result):
    """Check one answer in this process, and write the verdict as JSON."""
    one = find(number)
    guard = Guard()
    sys.path.insert(0, str(Path(path).absolute().parent))
    try:
        answer = run(parse(path), path)[one.name]
    except BaseException as error:
        verdict = refused(one, f"{path} ends with {type(error).__name__}: {str(error)[:300]}")
    else:
        verdict = check_exercise(one, answer, seed=json.loads(seed), guard=guard)
    written = Path(f"{result}.part")
    written.write_text(json.dumps(verdict), encoding="utf-8")
    written.replace(result)
    os._exit(0)  # an answer that never returns has a thread of its own


if __name__ == "__main__":
    main(*sys.argv[1:])
