"""The offline lab of quality: replay of routing policies, training of the local pre-classifier, their figures.

Scores, shares and intervals are statistics, in numpy's floats; dollars are `Decimal` throughout (`prices.py`).
"""
