"""The routing map: which experts each cluster of the training pictures is sent to, and how many pictures they get."""

import math
from collections.abc import Mapping
from typing import Any

from sslcli.evaluation.style import FAINT, INK, canvas
from sslcli_moce.diagnosis import Diagnosis, order_by_expert

WIDTH, TALL_OF_EXPERT, MARGIN = 9.0, 0.2, 1.05  # inches
BAR = "#4a7fb0"


def routing_figure(layers: Mapping[int, Diagnosis]) -> Any:
    """A matplotlib figure of the layers, by the number of their block.

    For each the gate of every cluster, experts from the top down, clusters sorted by their expert; beside it the share
    of the training pictures that each expert gets, and a line where all would get as many.
    """
    heights = [TALL_OF_EXPERT * max(len(layer.load), 4) + MARGIN for layer in layers.values()]
    ratios = {"width_ratios": (5, 1), "height_ratios": heights}
    figure, places = canvas(len(layers), 2, height=sum(heights), width=WIDTH, squeeze=False, gridspec_kw=ratios)
    most = max(float(layer.probabilities.max()) for layer in layers.values())  # gates that hardly choose are seen too
    for (gates, load), (block, layer) in zip(places, layers.items()):
        image = draw_gates(gates, block, layer, most)
        draw_load(load, layer)
    bar = figure.colorbar(image, ax=places[:, 0].tolist(), location="left", shrink=0.6, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8)
    bar.set_label("gate", color=INK, fontsize=8)
    return figure


def draw_gates(axes: Any, block: int, layer: Diagnosis, most: float) -> Any:
    """A heat map of experts by clusters, these sorted by their expert."""
    sorted_gates = layer.probabilities[order_by_expert(layer.probabilities)].T.numpy()
    image = axes.imshow(sorted_gates, cmap="Blues", vmin=0, vmax=most, aspect="auto", interpolation="nearest")
    said = f"block {block}: mean entropy {layer.entropy:.2f} of {math.log(max(len(layer.load), 1)):.2f} nats"
    axes.set_title(said + dead_in_words(layer), loc="left", fontsize=9, color=INK)
    axes.set_xlabel(f"{len(layer.sizes)} clusters, sorted by their expert", fontsize=8, color=INK)
    axes.set_ylabel("expert", fontsize=8, color=INK)
    axes.set_yticks(range(len(layer.load)))
    axes.set_xticks([])
    quiet(axes)
    return image


def draw_load(axes: Any, layer: Diagnosis) -> None:
    """Bars of the pictures of each expert, as shares."""
    shares = (layer.load / layer.load.sum().clamp_min(1)).numpy()
    axes.barh(range(len(shares)), shares, color=BAR, height=0.7)
    axes.axvline(1 / len(shares), color=INK, linewidth=0.8, linestyle=":")
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(0, max(1.1 * float(shares.max()), 2 / len(shares)))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("of the pictures", fontsize=8, color=INK)
    quiet(axes)


def dead_in_words(layer: Diagnosis) -> str:
    """`; no picture: 2, 7`, or nothing."""
    return f"; no picture for {', '.join(map(str, layer.dead))}" if layer.dead else ""


def quiet(axes: Any) -> None:
    """No frame, small faint ticks."""
    axes.tick_params(length=0, labelsize=8, colors=INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
