"""Features of augmented views: made as the run's recipe makes those of its first group, or by a plain crop and flip."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from sslcli.data.augmentation import Draw, ViewAugmentation
from sslcli.data.crops import ResizedCrop
from sslcli.data.draws import stack_draws, view_generator
from sslcli.data.loader import in_order
from sslcli.data.pictures import BrokenPicture
from sslcli.data.settings import Cropping
from sslcli.data.source import Source
from sslcli.data.views import COLUMN
from sslcli.errors import RunError, UserError
from sslcli.evaluation.card import Card, normalise
from sslcli.evaluation.features import judging
from sslcli.evaluation.trial import Trial
from sslcli.recipe import recipe_from_document
from sslcli.training.building import build, context_of

BATCH = 256  # views
Views = tuple[NDArray[np.uint8], list[Draw]]  # of one picture: crops [V, S, S, 3] and what was drawn for each
Batch = tuple[Tensor, dict[str, Tensor]]  # crops [B * V, S, S, 3] and their draws


@dataclass(frozen=True)
class Making:
    """How views are made: in words, by what, how many crops its group has, and how it leaves colours."""

    said: str
    augmentation: ViewAugmentation
    crops: int
    group: str
    card: Card


class PlainCrop(ViewAugmentation):
    """A resized crop, flipped half of the time, where there is no recipe that says more."""

    def __init__(self, card: Card) -> None:
        self.card, self.crop = card, ResizedCrop(Cropping(size=card.image_size))

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """Box and flip."""
        numbers: list[float] = rng.random(self.crop.numbers).tolist()
        return self.crop.draw(numbers, height=height, width=width, crop=crop)

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop, `[S, S, 3]`."""
        return self.crop.cut(image, draw)

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Normalised by the card, `[B, 3, S, S]`."""
        return normalise(crops, self.card)


def making_of(trial: Trial) -> Making:
    """How views are made for a trial: for a baseline, as for the run that it stands beside."""
    trial = trial.beside or trial
    if not trial.recipe:
        return Making("resized crop and flip", PlainCrop(trial.card), 1, "plain", trial.card)
    try:
        recipe = recipe_from_document(trial.recipe, origin=f"the recipe of {trial.run}")
    except UserError as misfit:
        trial.note(f"warning: views are plain crops, because the recipe cannot be read here: {misfit.message}")
        return Making("resized crop and flip", PlainCrop(trial.card), 1, "plain", trial.card)
    group, choice = next(iter(recipe.views.items()))
    with torch.random.fork_rng(devices=[]):  # `build` seeds the generator of all
        augmentation = build(choice, context_of(recipe, samples=recipe.train.batch_size))
    card = Card(choice.options.size, mean=recipe.data.mean, std=recipe.data.std)
    return Making(f"views.{group} of its recipe, by {choice.name}", augmentation, choice.options.crops, group, card)


class Viewed(Dataset["Views | None"]):
    """Some pictures of a source as views, decoded once each; None where one cannot be read any more."""

    def __init__(self, source: Source, indices: Sequence[int], making: Making, views: int, seed: int) -> None:
        self.source, self.indices, self.making, self.views, self.seed = source, indices, making, views, seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Views | None:
        index = int(self.indices[number])
        try:
            image = self.source.image(index)
        except BrokenPicture:
            return None
        draws = [self.draw(index, image, view) for view in range(self.views)]
        return np.stack([self.making.augmentation.cut(image, draw) for draw in draws]), draws

    def draw(self, index: int, image: Image.Image, view: int) -> Draw:
        """Crop by crop through the group, then as the next epoch would draw it."""
        epoch, crop = divmod(view, self.making.crops)
        rng = view_generator(self.seed, epoch, index, self.making.group, crop)
        return self.making.augmentation.draw(rng, height=image.height, width=image.width, crop=crop)


def features_of_views(
    trial: Trial, making: Making, source: Source, indices: Sequence[int], views: int, seed: int
) -> Tensor:
    """Features `[N, V, D]` of `views` views of some pictures, in full precision. Raises RunError when none is left."""
    rows = []
    encoder, device = trial.subject.encoder, trial.device
    with judging(encoder, device):
        for crops, draws in batches(Viewed(source, indices, making, views, seed)):
            drawn = {name: array.to(device) for name, array in draws.items()}
            images = making.augmentation.finish(crops.to(device), drawn)
            rows.append(encoder(as_shown(images, making.card, trial.card)).float().flatten(1).cpu())
    if not rows:
        raise RunError(f"no picture of {source.spec} can be read any more", "look at the files, or name other pictures")
    found = torch.cat(rows)
    return found.view(-1, views, found.shape[1])


def batches(viewed: Viewed) -> Iterator[Batch]:
    """Views in batches, made by as many workers as training would have."""
    yield from filter(None, in_order(viewed, max(BATCH // viewed.views, 1), collate))


def collate(viewed: Sequence[Views | None]) -> Batch | None:
    """The views of several pictures, one after the other; None where no picture is left."""
    there = [views for views in viewed if views is not None]
    if not there:
        return None
    drawn = stack_draws([[draw for _, draws in there for draw in draws]])
    kept = {name: torch.from_numpy(array[0]) for name, array in drawn.items() if not name.startswith(COLUMN)}
    return torch.from_numpy(np.concatenate([crops for crops, _ in there])), kept


def as_shown(images: Tensor, made: Card, shown: Card) -> Tensor:
    """Normalised images `[B, 3, S, S]` at the size and in the colours of another card."""
    if (made.mean, made.std) != (shown.mean, shown.std):
        mean, std, new_mean, new_std = (
            images.new_tensor(colour).view(1, 3, 1, 1) for colour in (made.mean, made.std, shown.mean, shown.std)
        )
        images = (images * std + mean - new_mean) / new_std
    if images.shape[-1] == shown.image_size:
        return images
    size = (shown.image_size, shown.image_size)
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)
