"""Figures next to the JSON, all in one style."""


def save_figure(path, draw, n_panels=1):
    """Let `draw` fill the axes of a figure, one argument per panel, and save the figure.

    Where matplotlib is not installed there is no figure.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    size = (6.4 if n_panels == 1 else 5 * n_panels, 4.2)
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, panels = plt.subplots(
            1, n_panels, figsize=size, layout="constrained", squeeze=False
        )  # fmt: skip
        draw(*panels[0])
        for axes in panels[0]:
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        figure.savefig(path, dpi=150)
        plt.close(figure)
    print(f"written to {path}")


def log_log(axes, xlabel, places):
    """Logarithmic axes with whole numbers at the places of the measurements."""
    axes.set(xscale="log", yscale="log", xlabel=xlabel)
    axes.set_xticks(places, [f"{n:,}" for n in places])
    axes.minorticks_off()
