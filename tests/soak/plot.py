"""A plot of the samples of a soak run."""

from pathlib import Path

import matplotlib as mpl

from tests.soak.samples import MAX_GROWTH, Samples


def plot(samples: Samples, path: Path) -> None:
    """Plot each figure of each replica over time, and write it to `path`. Dots mark samples at rest."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, places = plt.subplots(len(MAX_GROWTH), 1, figsize=(11, 8), sharex=True)
    for place, name in zip(places, MAX_GROWTH, strict=True):
        for number in range(len(samples.replicas)):
            taken = [sample for sample in samples.taken if sample.replica == number]
            resting = [sample for sample in taken if sample.at_rest]
            (line,) = place.plot(
                [sample.at / 60 for sample in taken],
                [sample.figures[name] for sample in taken],
                linewidth=0.8,
                label=f"replica {number + 1}",
            )
            place.plot(
                [sample.at / 60 for sample in resting],
                [sample.figures[name] for sample in resting],
                ".",
                color=line.get_color(),
            )
        place.set(ylabel=name, ylim=(0, 1.1 * max(sample.figures[name] for sample in samples.taken)))
        place.grid(visible=True, alpha=0.3)
    places[0].legend(loc="lower right")
    places[-1].set_xlabel("minutes")
    figure.suptitle("luma-mcp: one fault after another under load; the first replica is ended and started anew")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
