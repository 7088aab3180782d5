"""Values in the words of an error message."""

_LONGEST = 200


def shown(value):
    """The `repr` of a value, cut where it is long; its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # whatever a foreign class does, an int of too many digits
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
