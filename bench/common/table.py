"""Tables on screen: the line above them, their rows, and which bars were met."""

from textwrap import shorten


def conditions(result, *facts):
    """The line above a table: the facts, the number of repeats and the machine."""
    facts = ", ".join([*facts, f"median of {result['repeats']}"])
    return f"{facts}; {result['processor']}, {result['instruction_set']}"


def titles(columns, width):
    """The header of the lines that `cells` makes. columns : measure -> its title and format."""
    return "".join(title.rjust(width) for title, _ in columns.values())


def cells(row, columns, width):
    """A row's measures as text; a dash for a measure that is missing."""
    return "".join(
        ("–" if row.get(name) is None else f"{row[name]:{form}}").rjust(width)
        for name, (_, form) in columns.items()
    )


def note(row):
    """Why a row lacks figures, or nothing."""
    return "" if row["status"] == "ok" else f"  {shorten(row['status'], 90)}"


def print_table(title, rows, columns, widths):
    """Print a table; `rows` maps the name of a system to its row.

    widths : width of the column of names, width of every other column
    """
    first, width = widths
    print(f"\n{title:<{first}}{titles(columns, width)}")
    for name, row in rows.items():
        measured = any(row.get(column) is not None for column in columns)
        line = cells(row, columns, width) if measured else ""
        print(f"{name:<{first}}{line}{note(row)}")


# -------------------------------------------------------------------- bars --


def verdict(bar, value, limit, form, at_least=False):
    """Whether `value` meets the bar `limit`; a value of None was not measured."""
    if value is None:
        return {"bar": bar, "verdict": "not measured"}
    met = value >= limit if at_least else value <= limit
    return {"bar": bar, "verdict": "met" if met else "missed", "value": value, "form": form}


def print_verdicts(verdicts):
    print()
    for line in verdicts:
        value = f" ({line['value']:{line['form']}})" if "value" in line else ""
        print(f"{line['verdict']:<13}{line['bar']}{value}")
