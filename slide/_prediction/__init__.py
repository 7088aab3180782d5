"""The best classes of rows: from all scores or from a short list, and the labels they make."""
