"""The configurations, a package so that an installed `train.py` finds them, and the rules they must keep."""
