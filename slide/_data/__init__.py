"""X, y and sample weights: checked, centred and in the engine's form."""
