"""From the name that a person gives, a RUN, to what is judged.

runs/tiny                              backbone.safetensors + config.json, or else the newest whole checkpoint
runs/tiny/checkpoints/step-00000400    a checkpoint
backbone.safetensors                   the weights, with config.json beside
timm:vit_small_patch16_224.dino        a pretrained model of timm
random:mae/tiny                        the backbone of a recipe at its random start
pixels                                 no backbone: the pixels at 32 x 32, their mean over the training set subtracted
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open
from timm.data import resolve_model_data_config
from torch import Tensor

from sslcli.disk import expand, read_json
from sslcli.errors import UserError, did_you_mean
from sslcli.evaluation.card import Card
from sslcli.evaluation.subjects import Subject
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pixels, Pool, Pooled, TimmNetwork, load_all
from sslcli.nn.stored import CONFIG, WEIGHTS, load_state, read_card, read_config
from sslcli.recipe import Recipe, load_recipe
from sslcli.training.building import build_backbone, context_of
from sslcli.training.checkpoint import MODEL, Checkpoints, restore_model
from sslcli.training.runs import RECIPE

FORMS = "RUN is a run, a checkpoint, a backbone.safetensors, timm:NAME, random:RECIPE or pixels"
EXPORTED = "export.json"  # beside a backbone that was handed to another tool: what was done
PIXELS = Card(image_size=32, crop_share=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
Note = Callable[[str], None]


def open_subject(
    run: str, pool: Pool = "auto", *, overrides: Sequence[str] = (), note: Note = lambda line: None
) -> Subject:
    """What RUN names. `pool` other than `auto` replaces what the run's own recipe says. Raises UserError.

    `overrides` are put over the recipe that the backbone is built by, such as `routing.clusters="elsewhere"`.
    """
    form, colon, name = run.partition(":")
    if run == "pixels":
        return pixels(run)
    if colon and form in ("timm", "random") and not name:
        raise UserError(f"nothing follows the colon in '{run}'", FORMS)
    if form == "timm":
        return of_timm(run, name, pool)
    if form == "random":
        return random_start(run, name, pool, overrides)
    path = expand(run)
    refuse_foreign(path if path.is_dir() else path.parent if path.is_file() else None)
    if path.is_dir():
        return of_folder(run, path, pool, note, overrides)
    if path.suffix == ".safetensors" and path.is_file():
        return of_weights(run, path, pool, overrides)
    raise not_found(run, path)


def pixels(run: str) -> Subject:
    """The pixels themselves."""
    return Subject(run, "the pixels at 32 x 32", Pixels(), PIXELS, {"pixels": 32}, centred=True)


def of_timm(run: str, name: str, pool: Pool) -> Subject:
    """A pretrained model of timm, from the cache of the Hub or downloaded into it."""
    state = load_state(run)
    network = TimmNetwork.create(name, num_classes=0)
    load_all(network, state, run)
    card = card_in({"pretrained_cfg": resolve_model_data_config(network.model)})
    return Subject(run, f"{name} of timm, pretrained", Pooled(network, pool), card, {"timm": name, "pool": pool})


def random_start(run: str, reference: str, pool: Pool, overrides: Sequence[str] = ()) -> Subject:
    """The backbone of a recipe, or of a run's recipe, as its training begins."""
    path = expand(reference)
    recipe = load_recipe(path / RECIPE if (path / RECIPE).is_file() else reference, overrides)
    return of_recipe(run, f"the random start of {recipe.name}", recipe, begin(recipe), pool)


def weights_in(folder: Path) -> Path | None:
    """The weights of a saved backbone, named as a run or `sslcli export --to timm` does; None without a config.json."""
    named = (folder / name for name in (WEIGHTS, MODEL))
    return next((file for file in named if file.is_file() and (folder / CONFIG).is_file()), None)


def of_folder(run: str, folder: Path, pool: Pool, note: Note, overrides: Sequence[str] = ()) -> Subject:
    """A run, a checkpoint of one, or any folder with a saved backbone."""
    if (saved := weights_in(folder)) is not None:
        return of_weights(run, saved, pool, overrides)
    if (folder / MODEL).is_file():
        return of_checkpoint(run, folder, pool, overrides)
    if (folder / RECIPE).is_file():
        return of_checkpoint(run, newest_whole(folder, note), pool, overrides)
    raise UserError(
        f"{folder} holds no backbone: neither {WEIGHTS} with {CONFIG}, nor {RECIPE} with checkpoints", FORMS
    )


def refuse_foreign(folder: Path | None) -> None:
    """Refuse what was written for another tool and does not say how its backbone is built here. Raises UserError."""
    made, config = (read_json(folder / name) if folder else {} for name in (EXPORTED, CONFIG))
    if made.get("to", "timm") != "timm":
        raise UserError(
            f"{folder} is an export to {made['to']}, which does not say here how its backbone is built",
            f"name what it was made from, {made.get('run', 'its run')}, or what '--to timm' exports of it",
        )
    if "architecture" in config and "sslcli" not in config:
        raise UserError(
            f"{folder} is a network of timm with its head, as `sslcli eval finetune --keep` writes it, and no backbone",
            f"name the run that it was made from; timm.create_model('local-dir:{folder}', pretrained=True) opens it",
        )


def newest_whole(folder: Path, note: Note) -> Path:
    """The newest checkpoint of a run that is not damaged."""
    whole = Checkpoints(folder, keep=1).newest_whole(lambda text: note(f"warning: {text}"))
    if whole is not None:
        return whole
    raise UserError(
        f"{folder} has neither {WEIGHTS} nor a whole checkpoint yet",
        f"let it train on: sslcli pretrain --resume {folder}; or judge its random start: random:{folder}",
    )


def of_checkpoint(run: str, folder: Path, pool: Pool, overrides: Sequence[str] = ()) -> Subject:
    """The backbone inside a checkpoint, built from the run's recipe: the teacher's where the recipe exports it."""
    home = folder.resolve().parent.parent
    if not (home / RECIPE).is_file():
        raise UserError(
            f"{folder} belongs to no run: there is no {home / RECIPE}", "leave checkpoints in their run's folder"
        )
    recipe = load_recipe(home / RECIPE, overrides)
    backbone, (network, state) = begin(recipe), judged_part(folder, teacher=recipe.teacher.export)
    try:
        restore_model(backbone, state)
    except RuntimeError as misfit:
        raise UserError(f"{folder} does not fit {home / RECIPE}: {misfit}", "restore the recipe of the run") from None
    return of_recipe(run, f"the {network} at {folder.name} of {recipe.name}", recipe, backbone, pool)


def judged_part(folder: Path, *, teacher: bool) -> tuple[str, dict[str, Tensor]]:
    """`student` or `teacher`, and the tensors of its backbone by the backbone's own names."""
    try:
        with safe_open(folder / MODEL, framework="pt") as file:
            names = list(file.keys())
            twins = any(name.startswith("backbone.online.") for name in names)
            prefix = ("backbone.target." if teacher else "backbone.online.") if twins else "backbone."
            state = {name.removeprefix(prefix): file.get_tensor(name) for name in names if name.startswith(prefix)}
    except (SafetensorError, OSError) as failure:
        raise UserError(f"{folder / MODEL} cannot be read: {failure}", "judge another checkpoint") from None
    return "teacher" if teacher and twins else "student", state


def of_weights(run: str, path: Path, pool: Pool, overrides: Sequence[str] = ()) -> Subject:
    """A saved backbone: built by timm where timm has such a network, else by the recipe beside it."""
    card, config = read_card(path), read_config(path)
    recipe = path.with_name(RECIPE)
    if timm.is_model(config["architecture"]):
        network: Backbone = TimmNetwork.create(config["architecture"], **config["model_args"])
    elif recipe.is_file():
        network = begin(load_recipe(recipe, overrides))
    else:
        raise UserError(
            f"{path} is a backbone that timm does not have ({config['architecture']}), and there is no {recipe}",
            f"put the {RECIPE} of its run beside it",
        )
    load_all(network, load_state(path), str(path))
    pool = card.get("pool", "auto") if pool == "auto" else pool
    age = f"at step {card['step']}" if "step" in card else "imported as a run"
    said = f"the {card.get('network', 'backbone')} {age} of {card.get('recipe', path)}"
    made_by = {"config": [config["architecture"], config["model_args"], card.get("backbone")], "pool": pool}
    return Subject(run, said, Pooled(network, pool), card_in(config), made_by, document_at(recipe))


def card_in(config: Mapping[str, Any]) -> Card:
    """How a saved backbone is shown pictures, as timm reads it too."""
    shown = config["pretrained_cfg"]
    return Card(shown["input_size"][-1], shown["crop_pct"], tuple(shown["mean"]), tuple(shown["std"]))


def of_recipe(run: str, said: str, recipe: Recipe, backbone: Backbone, pool: Pool) -> Subject:
    """A backbone that a recipe built."""
    pool = recipe.evaluation.pool if pool == "auto" else pool
    made_by = {key: recipe.document.get(key) for key in ("backbone", "routing")} | {"pool": pool}
    return Subject(run, said, Pooled(backbone, pool), card_of(recipe), made_by, recipe.document)


def card_of(recipe: Recipe) -> Card:
    """How the backbone of a recipe is shown pictures: at the size of its largest view."""
    size = context_of(recipe, samples=recipe.train.batch_size).image_size
    return Card(size, recipe.evaluation.crop_share, recipe.data.mean, recipe.data.std)


def begin(recipe: Recipe) -> Backbone:
    """The backbone at its random start, which its seed fixes."""
    return build_backbone(recipe, context_of(recipe, samples=recipe.train.batch_size))


def document_at(path: Path) -> dict[str, Any]:
    """The recipe beside a backbone as plain data, if it is there; its plugins need not be installed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def not_found(run: str, path: Path) -> UserError:
    """The error for a RUN that is nothing we know."""
    form, colon, _ = run.partition(":")
    if colon and "/" not in form:
        return UserError(f"no such form of a RUN: {form}:", did_you_mean(form, ["timm", "random"]) or FORMS)
    if path.is_file():
        return UserError(f"{run} is no backbone", FORMS)
    nearby = [str(path.with_name(other.name)) for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = did_you_mean(str(path), [*nearby, "pixels"])
    return UserError(f"there is no {run}", close if close.startswith("did") else FORMS)
