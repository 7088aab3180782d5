"""What the rows of a label have in common, in X's own features: made once, scored from an index."""
