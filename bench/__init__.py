"""What measures: every figure a row, measured afresh.

A bench is a module of this folder with a function
``rows(quick: bool, progress: Progress) -> Iterator[Row]`` that yields each row as it
is measured, and a docstring whose first line is its summary.  ``quick`` ends within
ten minutes on two cores; a row that quick leaves out or measures on less says so.
"""
