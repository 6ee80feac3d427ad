"""The figure of `sslcli show mixed-attention`: pictures for `attention_figure`, and its cells on a sheet."""

from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.features import judging
from sslcli.evaluation.pretrained import open_pretraining
from sslcli.evaluation.samples import Sample, sample
from sslcli.evaluation.sheets import Cell, pictured, sheet
from sslcli.evaluation.trial import Trial
from sslcli.nn import Backbone
from sslcli.training.pretraining import Pretraining
from sslcli_mixedae.attention import HomologousAttention
from sslcli_mixedae.encoding import MixedEncoder
from sslcli_mixedae.figure import Pictures, attention_figure
from sslcli_mixedae.figure_options import MixedAttentionOptions
from sslcli_mixedae.mixing import compose, equal_shares

HEADS = ("picture", "CLS looks", "patch looks", "mixed", "own patches", "chosen keys")


@dataclass(frozen=True)
class Mixed:
    """Pictures for the figure, and the patch that asks."""

    pictures: Pictures
    query: int


def draw(options: MixedAttentionOptions, trial: Trial) -> Drawing:
    """A row for each picture and the mixed one that it is part of."""
    pretraining = open_pretraining(trial)
    encoder = encoder_of(pretraining, trial.run)
    backbone, segments = pretraining.student, encoder.segments
    card = replace(trial.card, image_size=pretraining.shapes[encoder.views].size)
    some = sample(trial, options.pictures * encoder.images, options.seed, card=card)
    with judging(pretraining, trial.device):
        mixed = mix(some, backbone, encoder.images, options, trial.device)
        figure = attention_figure(backbone, mixed.pictures, mixed.query, segments).cpu().numpy()
        right = accuracies(backbone, mixed.pictures, encoder.images, segments)
    chance = 1 / encoder.images
    return Drawing(
        "Attention in mixed pictures",
        sheet(cells_of(figure, card.image_size), HEADS),
        caption(encoder.images, right[-1], chance),
        {"right": right, "chance": chance, "patch": mixed.query, "pictures": some.names},
    )


def encoder_of(pretraining: Pretraining, run: str) -> MixedEncoder:
    """What encoded mixed images while the run was trained. Raises UserError where nothing did."""
    for module in pretraining.losses.modules():
        if isinstance(module, MixedEncoder):
            return module
    raise UserError(f"{run} was not trained with mixed pictures", "train one: sslcli pretrain mixedae/tiny")


def mix(some: Sample, backbone: Backbone, images: int, options: MixedAttentionOptions, device: torch.device) -> Mixed:
    """Each group of so many pictures as one, by the seed; the first of each group stands whole. Raises UserError."""
    groups = len(some.crops) // images
    if not groups:
        raise UserError(f"{len(some.crops)} pictures are fewer than the {images} of a mixed one", "name more pictures")
    whole = some.images[: groups * images].to(device)
    patches = (some.card.image_size // backbone.patch_size) ** 2
    noise = torch.rand(1, groups, patches, generator=torch.Generator().manual_seed(options.seed))
    labels = equal_shares(noise, images).to(device)
    query = options.patch if options.patch >= 0 else middle(patches)
    if query >= patches:
        raise UserError(f"--patch {query}: a picture has {patches} patches", f"a number below {patches}")
    mixed = compose(whole[None], labels, backbone.patch_size)[0]
    return Mixed(Pictures(whole[::images], mixed, labels[0], some.card.mean, some.card.std), query)


def middle(patches: int) -> int:
    """The patch in the middle of a square picture."""
    side = isqrt(patches)
    return (side // 2) * side + side // 2


def accuracies(backbone: Backbone, pictures: Pictures, images: int, segments: Tensor | None) -> list[float]:
    """The share of the keys that patches choose from their own source, block by block."""
    tokens = backbone.embed(pictures.mixed)
    tokens = tokens if segments is None else tokens + segments[pictures.labels]
    attention = HomologousAttention(pictures.labels, pictures.labels.shape[1] // images, backbone.prefix_tokens)
    backbone.encode(tokens, attend=attention)
    return [float(share) for _, share in sorted(attention.accuracies.items())]


def cells_of(figure: NDArray[np.uint8], side: int) -> list[list[Cell]]:
    """The figure's tiles, each whole picture beside the mixed one that it is part of."""
    tiles = figure.reshape(-1, side, 3, side, 3).swapaxes(1, 2)  # [rows, columns, S, S, 3]
    whole, mixed = np.split(tiles, 2)
    return [[Cell(pictured(tile)) for tile in (*one, *other)] for one, other in zip(whole, mixed)]


def caption(images: int, right: float, chance: float) -> str:
    """What is seen."""
    return (
        "On the left pictures with the patch that asks (yellow), and where CLS and that patch look in the last block, "
        f"mean over heads. On the right {images} pictures mixed into one, that on the left among them; which patches "
        "are of the asking patch's own picture (light); and which keys it chooses: green of its own, red of others, "
        "the stronger the more heads. In the last block "
        f"{right:.0%} of the keys that all patches choose are of their own picture ({chance:.0%} by chance)."
    )
