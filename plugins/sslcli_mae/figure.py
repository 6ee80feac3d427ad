"""What a masked autoencoder rebuilds: a picture, what is seen of it, and that with the decoder's patches.

A decoder that learned normalised patches says nothing of their mean and deviation: each patch is given its own back.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.features import judging
from sslcli.evaluation.pretrained import open_pretraining
from sslcli.evaluation.samples import Sample, sample
from sslcli.evaluation.sheets import Cell, pictured, sheet
from sslcli.evaluation.trial import Trial
from sslcli.nn import Masking, kept_patches, patch_statistics, patchify, random_masking, unpatchify
from sslcli.nn.experts import recognised
from sslcli.nn.rebuilding import masked_error
from sslcli.training.pretraining import Pretraining
from sslcli_mae.figure_options import RebuiltOptions
from sslcli_mae.loss import MaskedAutoencoder

HIDDEN = 0.75  # the grey of what is not seen, from black to white


@dataclass(frozen=True)
class Rebuilt:
    """Patches of some pictures `[B, N, P]`, in normalised colours: their own and the decoder's, and what was hidden."""

    pixels: Tensor
    predicted: Tensor
    masking: Masking

    @property
    def error(self) -> float:
        """The mean squared error of the hidden patches."""
        return float(masked_error(self.predicted, self.pixels, self.masking.mask))

    @property
    def flat_error(self) -> float:
        """What it would be if each hidden patch were of its own mean brightness throughout."""
        return float(masked_error(patch_statistics(self.pixels)[0], self.pixels, self.masking.mask))


def draw(options: RebuiltOptions, trial: Trial) -> Drawing:
    """A row a picture."""
    pretraining = open_pretraining(trial)
    loss = autoencoder_of(pretraining, trial.run)
    card = replace(trial.card, image_size=pretraining.shapes[loss.views].size)
    some = sample(trial, options.pictures, options.seed, card=card)
    with judging(pretraining, trial.device):
        found = rebuild(pretraining, loss, some.images.to(trial.device), options)
    hidden = float(found.masking.mask.mean())
    return Drawing(
        "Rebuilt pictures",
        sheet(rows_of(found, some, loss.patch_size), ["picture", "what is seen", "rebuilt"] * min(2, len(some.crops))),
        caption(loss.norm_pixels, hidden, found),
        {"hidden": hidden, "error": found.error, "error_of_means": found.flat_error, "pictures": some.names},
    )


def autoencoder_of(pretraining: Pretraining, run: str) -> MaskedAutoencoder:
    """The first loss of a run that is a masked autoencoder. Raises UserError."""
    for loss in pretraining.losses.values():
        if isinstance(loss, MaskedAutoencoder):
            return loss
    raise UserError(f"{run} was not trained with mae, so it has no decoder", "train one: sslcli pretrain mae/tiny")


def rebuild(pretraining: Pretraining, loss: MaskedAutoencoder, images: Tensor, options: RebuiltOptions) -> Rebuilt:
    """Hide patches of normalised images `[B, 3, S, S]` by the seed, and let the student rebuild them."""
    backbone = pretraining.student
    tokens = backbone.embed(images)
    count = tokens.shape[1]
    keep = kept_patches(count, options.mask_ratio) if options.mask_ratio else loss.keep
    if not 0 < keep < count:
        message = f"--mask-ratio {options.mask_ratio:g} leaves none or all of {count} patches to see"
        raise UserError(message, "such as '--mask-ratio 0.5'")
    noise = torch.rand(len(images), count, generator=torch.Generator().manual_seed(options.seed))
    masking = random_masking(noise.to(images.device), keep)
    seen = backbone.encode(tokens, keep=masking.keep, columns=recognised(backbone, images)).normed
    predicted, pixels = cast(Tensor, loss.decoder(seen, masking.restore)), patchify(images, loss.patch_size)
    if loss.norm_pixels:
        mean, deviation = patch_statistics(pixels)
        predicted = predicted * deviation + mean
    return Rebuilt(pixels, predicted, masking)


def rows_of(found: Rebuilt, some: Sample, patch_size: int) -> list[list[Cell]]:
    """Three cells a picture, two pictures in a row."""
    hidden = found.masking.mask[..., None].bool()
    grey = torch.full((3,), HIDDEN).sub(torch.tensor(some.card.mean)).div(torch.tensor(some.card.std))
    lines = [
        found.pixels,
        torch.where(hidden, grey.to(found.pixels).repeat(patch_size**2), found.pixels),
        torch.where(hidden, found.predicted, found.pixels),
    ]
    columns = [colours(patches, patch_size, some.card) for patches in lines]
    cells = [[Cell(pictured(column[number])) for column in columns] for number in range(len(some.crops))]
    return [[cell for own in cells[begin : begin + 2] for cell in own] for begin in range(0, len(cells), 2)]


def colours(patches: Tensor, patch_size: int, card: Card) -> Any:
    """Patches `[B, N, P]` of square pictures in normalised colours as pixels, uint8 `[B, S, S, 3]`."""
    side = card.image_size // patch_size
    images = unpatchify(patches.float().cpu(), patch_size, (side, side)).permute(0, 2, 3, 1)
    shown = images * torch.tensor(card.std) + torch.tensor(card.mean)
    return (shown.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def caption(normalised: bool, hidden: float, found: Rebuilt) -> str:
    """What is seen."""
    given = (
        " The decoder learned patches without their mean and contrast: each rebuilt patch was given its own back, so "
        "its brightness is right for free."
        if normalised
        else ""
    )
    return (
        f"{hidden:.0%} of the patches are hidden (grey), and rebuilt from the others, which stand as they are. Squared "
        f"error of the hidden ones, in normalised colours: {found.error:.3f}; it would be {found.flat_error:.3f} if "
        f"each were of its own mean brightness throughout.{given}"
    )
