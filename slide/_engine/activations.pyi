ACTIVATIONS: dict[str, int]
