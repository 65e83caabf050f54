"""Install exactly the lowest versions that setup.cfg allows, and run tests with them.

    python3.10 .ci/lowest_versions.py        a few minutes

The Python that runs this must be one for which those versions exist: 3.10 to 3.12.
"""

import configparser
import os
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = "tests/test_tutorials.py"  # longest; they use nothing that the other tests do not


def lowest_versions():
    """ "numpy==2.0" and so on, from setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    return [line.replace(">=", "==") for line in required.split() if ">=" in line]


def main():
    """Make an environment in a temporary folder and run the tests in it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        venv.create(folder, with_pip=True)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        packages = lowest_versions()
        print("lowest versions:", *packages, flush=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *packages], check=True)
        subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
        subprocess.run([python, "-m", "pytest", "-q", "--ignore", LEFT_OUT], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
