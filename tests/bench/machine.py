"""What a benchmark ran on: a time says little without the processor and the BLAS kernel."""

import ctypes
import os
import platform
from pathlib import Path

import numpy as np

_FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def machine():
    """{"processor", "cores", "BLAS kernel"}; a kernel that the environment forces is said to be."""
    forced = [name for name in _FORCED if name in os.environ]
    kernel = _openblas_kernel()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "BLAS kernel": f"{kernel}, forced by {' and '.join(forced)}" if forced else kernel,
    }


def _processor():
    """The processor's name."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _openblas_kernel():
    """The kernel that NumPy's OpenBLAS has picked, such as SkylakeX; "unknown" for another BLAS."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for file in folder.glob("*openblas*"):
        library = ctypes.CDLL(str(file))
        for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                return function().decode()
    return "unknown"
