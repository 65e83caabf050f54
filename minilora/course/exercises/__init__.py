"""The checks of the exercises, a file for each lesson: properties, oracles in loops, one hint."""
