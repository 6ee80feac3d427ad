"""What a run hands over: the judged backbone as plain weights, and a card that says what they are."""

from typing import Any

from sslcli.api import Context
from sslcli.nn.stored import save_backbone
from sslcli.recipe.tables import Recipe
from sslcli.training.loop import Loop


def export(loop: Loop) -> None:
    """Write `backbone.safetensors` and `config.json`."""
    age = {"step": loop.step, "epoch": loop.step / loop.context.steps_per_epoch}
    save_backbone(loop.folder, loop.judged, card_of(loop.recipe, loop.context) | age)


def card_of(recipe: Recipe, context: Context) -> dict[str, Any]:
    """How to build the backbone of a recipe, how to feed it, and which of its networks is the judged one."""
    return {
        "backbone": {
            "name": recipe.backbone.name,
            "options": recipe.backbone.options.model_dump(mode="json", exclude_none=True),
        },
        "image_size": context.image_size,
        "mean": list(context.mean),
        "std": list(context.std),
        "crop_share": recipe.evaluation.crop_share,
        "pool": recipe.evaluation.pool,
        "recipe": recipe.name,
        "network": "teacher" if recipe.teacher.export else "student",
    }
