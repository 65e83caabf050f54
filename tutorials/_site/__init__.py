"""What conf.py leaves to others: lessons, notebooks, boxes, and the reference.

`lessons` needs the standard library only, so that the tests can use it wherever they run.
"""
