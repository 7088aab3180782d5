"""The network: its arrays, how they start, and one pass over the rows."""
