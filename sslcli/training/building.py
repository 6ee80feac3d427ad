"""From a checked recipe to the objects that it names. Everything is built from the recipe's seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zlib import crc32

import torch
from torch import nn

from sslcli.api import Context, Reads, ViewShape
from sslcli.data.augmentation import MixAugmentation, ViewAugmentation
from sslcli.data.draws import view_generator
from sslcli.data.views import COLUMN
from sslcli.errors import UserError, did_you_mean
from sslcli.nn import Backbone, Momentum
from sslcli.nn.experts import install_routing
from sslcli.plugins import resolve
from sslcli.recipe.tables import Choice, Recipe
from sslcli.training.pretraining import Pretraining, Term


def context_of(recipe: Recipe, *, samples: int, fingerprint: str = "", world_size: int = 1) -> Context:
    """What the plugins of a recipe are told of the run; the backbone's own shape is still zero."""
    shapes = {group: ViewShape(choice.options.crops, choice.options.size) for group, choice in recipe.views.items()}
    for group, choice in recipe.mixed.items():
        shapes[group] = replace(shapes[choice.options.source], joined=choice.options.joined())
    per_epoch = max(samples // recipe.train.batch_size, 1)
    return Context(
        views=shapes,
        image_size=max(shape.size for shape in shapes.values()),
        mean=recipe.data.mean,
        std=recipe.data.std,
        samples=samples,
        fingerprint=fingerprint,
        batch_size=recipe.train.batch_size,
        world_size=world_size,
        steps=max(round(recipe.train.epochs * per_epoch), 1),
        steps_per_epoch=per_epoch,
        seed=recipe.train.seed,
    )


def build(choice: Choice, context: Context, place: str = "") -> Any:
    """The object of a chosen plugin, `code(options, context)`, with chance fixed by the seed and the place it is named.

    So one more loss in a recipe leaves the random start of the others as it was. `place` tells apart what is named once
    and built many times.
    """
    torch.manual_seed(crc32(f"{context.seed}/{choice.path}{place}/{choice.name}".encode()))
    return resolve(choice.offer.code)(choice.options, context)


def build_views(recipe: Recipe, context: Context) -> dict[str, ViewAugmentation]:
    """The augmentation of every view group that is cut from the picture."""
    return {group: build(choice, context) for group, choice in recipe.views.items()}


def build_mixes(recipe: Recipe, context: Context) -> dict[str, tuple[str, MixAugmentation]]:
    """Source and augmentation of every view group that is mixed on the device."""
    return {group: (choice.options.source, build(choice, context)) for group, choice in recipe.mixed.items()}


def build_backbone(recipe: Recipe, context: Context) -> Backbone:
    """The backbone at its random start, with experts where the recipe has a routing."""
    backbone = build(recipe.backbone, context)
    if not isinstance(backbone, Backbone):
        raise UserError(
            f"the backbone {recipe.backbone.name!r} is a {type(backbone).__name__}, not a sslcli.nn.Backbone",
            "let its class inherit from sslcli.nn.Backbone",
        )
    if recipe.routing is not None:
        routing, shape = recipe.routing, with_backbone(context, backbone)
        install_routing(
            backbone,
            lambda block: build(routing, replace(shape, block=block), f".{block}"),
            routing.options.blocks,
            routing.options.experts,
        )
    return backbone


def with_backbone(context: Context, backbone: Backbone) -> Context:
    """The context of one model: with the shape of the backbone that was built, and nothing shared yet."""
    return replace(
        context,
        width=backbone.width,
        depth=backbone.depth,
        heads=backbone.heads,
        patch_size=backbone.patch_size,
        grid=backbone.grid,
        prefix_tokens=backbone.prefix_tokens,
        shared={},
    )


def build_pretraining(recipe: Recipe, context: Context, backbone: Backbone) -> Pretraining:
    """Student, teacher where one is needed, losses and views, as the one module that is trained."""
    refuse_packing(recipe, backbone)
    refuse_uneven_mixes(recipe, context)
    shape = with_backbone(context, backbone)
    losses = [choice for choice in recipe.losses if choice.options.weight > 0]  # one of no weight is left out
    wanted: dict[str, Reads] = {choice.path: choice.options.reads() for choice in losses}
    taught = any(reads.teacher for reads in wanted.values())
    if recipe.teacher.export and not taught and backbone.mixes_batch:
        raise UserError(
            "teacher.export: no loss shows the teacher a picture, so its batch norms would learn no statistics",
            "leave teacher.export out, or add a loss that reads a teacher",
        )
    views = build_views(recipe, context)
    refuse_missing_columns(wanted, views)
    return Pretraining(
        Momentum(backbone) if taught or recipe.teacher.export else backbone,
        [Term(choice.name, choice.options.weight, wanted[choice.path], build_loss(choice, shape)) for choice in losses],
        views=views,
        mixes=build_mixes(recipe, shape),
        shapes=context.views,
        seed=context.seed,
        mean=recipe.train.total == "mean",
        together=recipe.train.crops_together,
        packing=recipe.train.packing,
    )


def refuse_packing(recipe: Recipe, backbone: Backbone) -> None:
    """Whoever asks for packing is told when this backbone can never do it."""
    if recipe.train.packing == "on" and not backbone.packs:
        raise UserError(
            f"train.packing is 'on', but the backbone {recipe.backbone.name!r} cannot pack crops of several sizes"
            + (" while its blocks hold experts" if recipe.routing is not None else ""),
            'leave train.packing at "auto", which packs where it can',
        )


def refuse_uneven_mixes(recipe: Recipe, context: Context) -> None:
    """What one process computes at a time holds whole groups of the samples that become one mixed image."""
    parts = context.world_size * recipe.train.accumulation
    for group in recipe.mixed:
        joined, samples = context.views[group].joined, context.batch_size // parts
        if samples % joined:
            raise UserError(
                f"views.{group} mixes {joined} samples into one image, and a process computes {samples} at a time",
                f"let train.batch_size be a multiple of {joined * parts}: samples x processes x accumulation",
            )


def refuse_missing_columns(wanted: Mapping[str, Reads], views: Mapping[str, ViewAugmentation]) -> None:
    """A loss reads facts of the samples that an augmentation gives; one draw of each tells which these are."""
    given = {"index", "epoch"}
    for group, view in views.items():
        draw = view.draw(view_generator(0, 0, 0, group, 0), height=64, width=64, crop=0)
        given |= {name.removeprefix(COLUMN) for name in draw if name.startswith(COLUMN)}
    for path, reads in wanted.items():
        for column in reads.columns:
            if column not in given:
                raise UserError(
                    f"{path} reads the column {column!r}, which no view group gives", did_you_mean(column, given)
                )


def build_loss(choice: Choice, context: Context) -> nn.Module:
    """A loss, refused when it is no module."""
    loss = build(choice, context)
    if not isinstance(loss, nn.Module):
        raise UserError(
            f"the loss {choice.name!r} is a {type(loss).__name__}, not a torch.nn.Module",
            "let its class derive from torch.nn.Module",
        )
    return loss


def parameter_count(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
