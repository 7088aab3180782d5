"""Prototypes: every label's mean training row in X's own features, scored from an index."""
