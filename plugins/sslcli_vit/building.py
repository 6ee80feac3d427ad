"""From options to a timm VisionTransformer, or to an error that says what to mend."""

from difflib import get_close_matches
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from sslcli.api import Context
from sslcli.errors import UserError, did_you_mean
from sslcli.nn.positions import sincos_table
from sslcli_vit.initialisation import initialise
from sslcli_vit.options import VitOptions

TIMM_NAMES = {
    "width": "embed_dim",
    "depth": "depth",
    "heads": "num_heads",
    "mlp_ratio": "mlp_ratio",
    "patch_size": "patch_size",
    "class_token": "class_token",
    "registers": "reg_tokens",
}


def build_model(options: VitOptions, context: Context) -> Any:
    """The timm model with its random start and its table of positions."""
    model = create(options.model, model_arguments(options, context) | {"drop_path_rate": options.drop_path})
    check_sizes(model, context)
    choose_pool(model, options.pool)
    initialise(model, options.init)
    if options.positions != "learned":
        fix_positions(model, transposed=options.positions == "sincos_transposed")
    return model


def model_arguments(options: VitOptions, context: Context) -> dict[str, Any]:
    """Arguments of `timm.create_model` for the same network, without drop path and pooling.

    `fc_norm` off keeps the last norm before pooling, whatever the pooling.
    """
    given = {theirs: getattr(options, ours) for ours, theirs in TIMM_NAMES.items()}
    image_size = options.image_size or context.image_size
    fixed = {"img_size": image_size, "dynamic_img_size": True, "num_classes": 0, "fc_norm": False}
    return {name: value for name, value in given.items() if value is not None} | fixed


def create(name: str, arguments: dict[str, Any]) -> Any:
    """The model as timm makes it; mean pooling, which fits with and without CLS."""
    if not timm.is_model(name):
        raise unknown_model(name)
    try:
        model = timm.create_model(name, **arguments, global_pool="avg")
    except TypeError as failure:
        raise not_a_vit(name, f"timm says: {failure}") from None
    except AssertionError as failure:
        hint = "mend the sizes in [backbone], or choose a plain vision transformer such as vit_small_patch16_224"
        raise UserError(f"timm cannot build {name!r} with these options: {failure}", hint) from None
    if type(model) is not VisionTransformer:
        raise not_a_vit(name, f"it is a {type(model).__name__}")
    return model


def unknown_model(name: str) -> UserError:
    """The error for a name that timm does not have."""
    known = timm.list_models(module="vision_transformer")
    close = get_close_matches(name, known, n=1) or get_close_matches(name, timm.list_models(), n=1)
    hint = (
        did_you_mean(name, close)
        if close
        else "list them with: python -c \"import timm; print(timm.list_models('vit*'))\""
    )
    return UserError(f"timm has no model {name!r} (backbone.model)", hint)


def not_a_vit(name: str, reason: str) -> UserError:
    """The error for a timm model of another class."""
    hint = "choose a plain vision transformer such as vit_small_patch16_224, or for a ResNet the backbone 'resnet'"
    return UserError(f"the model {name!r} is no plain VisionTransformer of timm: {reason}", hint)


def check_sizes(model: Any, context: Context) -> None:
    """Refuse images that do not divide into patches: the backbone's own size, and every view's."""
    patch = model.patch_embed.feat_ratio()
    own = {"the image size of the backbone": model.patch_embed.img_size[0]}
    views = {f"views.{group}.size": shape.size for group, shape in context.views.items()}
    for name, size in (own | views).items():
        if size % patch:
            nearest = max(round(size / patch), 1) * patch
            raise UserError(f"{name} is {size}, which is no multiple of the patch size {patch}", f"use {nearest}")


def choose_pool(model: Any, pool: str) -> None:
    """Pool as asked; `auto` is CLS where there is one."""
    if pool == "cls" and not model.has_class_token:
        raise UserError("backbone.pool is 'cls', but the model has no class token", 'use pool = "mean"')
    model.reset_classifier(0, "token" if model.has_class_token and pool != "mean" else "avg")


def fix_positions(model: Any, *, transposed: bool) -> None:
    """Put a sine-cosine table in the place of the learned positions; it does not learn."""
    if model.pos_embed is None:
        raise UserError("backbone.positions asks for a table, but the model has no positions", "leave positions out")
    grid = model.patch_embed.grid_size
    table = sincos_table(model.embed_dim, grid, prefix=position_prefix(model), transposed=transposed)
    model.pos_embed = nn.Parameter(table, requires_grad=False)


def position_prefix(model: Any) -> int:
    """How many prefix tokens have a row in the table of positions."""
    return 0 if model.no_embed_class else int(model.num_prefix_tokens)
