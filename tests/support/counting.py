"""How many functions a call calls: a measure of time that is the same on every machine."""

import sys


def calls(function, *arguments):
    """The number of calls, of Python and of C, that function(*arguments) makes."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return count
