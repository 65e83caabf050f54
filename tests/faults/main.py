"""Faults for minilora/__main__.py, each of which its tests must catch."""

FILE = "__main__.py"
TESTS = "test_tour.py"
FAULTS = [  # (what stands there, what the fault puts in its place)
    ('if chosen.seed < 0:', 'if False:'),
    ('        except OSError as error:', '        except KeyError as error:'),
    ('choices=("letters", "text"), ', ''),
]  # fmt: skip
