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
from minilora.course.exercise import Exercise, all_exercises, find
from minilora.course.verdict import Verdict, refused

_LIMIT = 15.0  # seconds that a process may take to start, to import an answer and to check it


def check_file(number, path, *, seed=None):
    """The `Verdict` on the answer that a file has to the exercise of this number.

    Raises ValueError when no program checks such an exercise, and UnreadableError when there is no
    file. What is wrong within the file is part of the verdict.
    """
    if not Path(path).is_file():
        raise UnreadableError(f"cannot read {path}: there is no such file")
    return _in_a_process(number, path, seed)


def check_all(path, *, seed=None):
    """{number: Verdict} for all exercises whose answer a file defines.

    Raises UnreadableError when the file cannot be read or its syntax is wrong.
    """
    names = names_in(parse(path))
    checked = [one for one in all_exercises() if isinstance(one, Exercise)]
    numbers = [one.number for one in checked if one.name in names]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        verdicts = pool.map(lambda number: _in_a_process(number, path, seed), numbers)
        return dict(zip(numbers, verdicts))


def _in_a_process(number, path, seed):
    """The verdict of a process of its own; a sentence when it ends without one."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = [str(number), str(path), json.dumps(seed), str(result)]
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
            return refused(find(number), f"{path} is not done after {_LIMIT:g} s")
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
            if isinstance(found, str):
                raise ValueError(found)
            return Verdict(*found)
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    reason = f": {last[0][:200]}" if last else ""
    sentence = f"the process ended with code {done.returncode} before its time{reason}"
    return refused(find(number), sentence)


def _verdict(number, path, seed):
    """The verdict on a file's answer, found in this process; a text when there is no exercise."""
    from minilora.course.checking import check_exercise  # NumPy, which the other process needs not
    from minilora.course.guard import Guard

    try:
        one = find(number)
    except ValueError as error:
        return str(error)
    guard = Guard()
    sys.path.insert(0, str(Path(path).absolute().parent))
    try:
        tree = parse(path)
        if one.name not in names_in(tree):
            return refused(one, f"{path} does not define {one.name}")
        answer = run(tree, path, one.name)[one.name]
    except UnreadableError as error:
        return refused(one, str(error))
    except BaseException as error:
        return refused(one, f"{path} ends with {type(error).__name__}: {str(error)[:300]}")
    return check_exercise(one, answer, seed=seed, guard=guard)


def main(number, path, seed, result):
    """Check one answer in this process, and write the verdict as JSON."""
    verdict = _verdict(number, path, json.loads(seed))
    written = Path(f"{result}.part")
    written.write_text(json.dumps(verdict), encoding="utf-8")
    written.replace(result)
    os._exit(0)  # an answer that never returns has a thread of its own


if __name__ == "__main__":
    main(*sys.argv[1:])
