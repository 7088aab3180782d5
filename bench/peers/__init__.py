"""The rival systems. Every `child_*.py` is run by the Python of the rivals' own environment."""
