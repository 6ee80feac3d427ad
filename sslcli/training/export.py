"""What a finished run hands over: the judged backbone as plain weights, and a card that says what they are."""

from sslcli.nn.stored import save_backbone
from sslcli.training.loop import Loop


def export(loop: Loop) -> None:
    """Write `backbone.safetensors` and `config.json`."""
    recipe, context = loop.recipe, loop.context
    card = {
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
        "step": loop.step,
        "epoch": loop.step / context.steps_per_epoch,
        "network": "teacher" if recipe.teacher.export else "student",
    }
    save_backbone(loop.folder, loop.judged, card)
