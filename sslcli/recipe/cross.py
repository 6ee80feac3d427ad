"""What only several tables together can get wrong: a loss that reads a view that is not there, and the like."""

from collections.abc import Iterable

from sslcli.api import Backbone, Loss, Options, Schedule
from sslcli.errors import did_you_mean
from sslcli.recipe.checking import Parts
from sslcli.recipe.keys import KeyPath, reach
from sslcli.recipe.tables import Choice, Data, Optimizer, Probe, Train


def check_together(parts: Parts) -> None:
    """Every check that needs more than one table; a part with mistakes of its own is passed over."""
    check_groups(parts)
    check_masks(parts)
    for place, loss in ((int(loss.path.partition(".")[2]), loss) for loss in parts.losses):
        check_reads(parts, loss, place)
        if isinstance(loss.offer, Loss):
            check_abilities(parts, loss, loss.offer.needs, ("loss", place))
    if parts.routing is not None:
        check_abilities(parts, parts.routing, ("experts",), ("routing",))
    check_weights(parts)
    check_training(parts)
    check_schedules(parts)
    check_probe(parts)


def check_weights(parts: Parts) -> None:
    """At least one loss weighs something; the others are left out of the run."""
    if parts.losses and not any(loss.options.weight for loss in parts.losses):
        parts.wrong(("loss", 0, "weight"), "is 0, as is that of every loss", "give one of them a weight")


def check_groups(parts: Parts) -> None:
    """Mixed view groups come from cut ones, and there must be a cut one."""
    groups = said_groups(parts)
    for group, choice in parts.mixed.items():
        source, path = choice.options.source, ("views", group, "source")
        if source not in groups:
            parts.wrong(path, f"is no view group: '{source}'", did_you_mean(source, parts.views))
        elif source in parts.mixed:
            hint = f"cut from the picture: {', '.join(parts.views)}" if parts.views else ""
            parts.wrong(path, f"must be a group that is cut from the picture; '{source}' is mixed itself", hint)
    if groups and len(parts.mixed) == len(groups):
        parts.wrong(("views",), "has no group that is cut from the picture", "add one, such as [views.global]")


def check_masks(parts: Parts) -> None:
    """A view group that looks at masks is told where they are."""
    data = parts.table("data", Data)
    for group, choice in parts.views.items():
        if data and not data.masks and choice.options.reads_masks():
            hint = 'make them: sslcli saliency compute DATA -o MASKS, then masks = "MASKS" under [data]'
            parts.wrong(("views", group), "looks at masks, and data.masks names none", hint)


def said_groups(parts: Parts) -> list[str]:
    """The view groups that the recipe names, the wrong ones too."""
    groups = parts.layers.data.get("views", {})
    return list(groups) if isinstance(groups, dict) else []


def check_reads(parts: Parts, loss: Choice, place: int) -> None:
    """A loss reads groups and crops that the recipe has."""
    reads = loss.options.reads()
    for view in dict.fromkeys((*reads.student, *reads.teacher, *reads.images, *reads.plans)):
        group, colon, crop = view.partition(":")
        path, who = reads_path(parts, loss, place, view)
        if group not in said_groups(parts):
            message = f"{who}the view group '{group}', which is not there"
            parts.wrong(path, message, did_you_mean(group, said_groups(parts)))
        elif colon and not has_crop(parts, group, crop):
            message = f"{who}crop '{view}', and '{group}' has {crops_of(parts, group)}, counted from 0"
            parts.wrong(path, message, f"raise views.{group}.crops")
        elif view in reads.plans and group in parts.views:
            hint = f"mixed groups: {', '.join(parts.mixed)}" if parts.mixed else "add one, with a mixing augmentation"
            parts.wrong(path, f"{who}'{group}' as a mixed group, and it is cut from the picture", hint)


def reads_path(parts: Parts, loss: Choice, place: int, view: str) -> tuple[KeyPath, str]:
    """The key of a loss that names a view, or the loss itself when no key does, and how to begin the sentence."""
    table = parts.layers.data["loss"][place]
    named = (view, view.partition(":")[0])
    key = next((key for key, value in table.items() if isinstance(value, str) and value in named), None)
    return (("loss", place, key), "names ") if key else (("loss", place), f"'{loss.name}' reads ")


def has_crop(parts: Parts, group: str, crop: str) -> bool:
    """Whether a group has a crop of this number; of a mixed group, or one with mistakes, nobody knows the crops."""
    if not crop.isdecimal():
        return False
    return group not in parts.views or int(crop) < parts.views[group].options.crops


def crops_of(parts: Parts, group: str) -> str:
    """`2 crops`, `1 crop`, or that they are numbered."""
    if group not in parts.views:
        return "crops with numbers"
    count = parts.views[group].options.crops
    return f"{count} crop" if count == 1 else f"{count} crops"


def check_abilities(parts: Parts, asking: Choice, needs: Iterable[str], path: KeyPath) -> None:
    """The backbone can do what a loss or a routing asks of it."""
    if parts.backbone is None or not isinstance(parts.backbone.offer, Backbone):
        return
    for ability in needs:
        if ability not in parts.backbone.offer.abilities:
            able = [
                o.name for o in parts.registry.offers("backbone") if isinstance(o, Backbone) and ability in o.abilities
            ]
            hint = f"backbones that have it: {', '.join(able)}" if able else "no installed backbone has it"
            lacking = f"which the backbone '{parts.backbone.name}' lacks"
            parts.wrong(path, f"'{asking.name}' needs the ability '{ability}', {lacking}", hint)


def check_training(parts: Parts) -> None:
    """What `[train]` and `[optimizer]` say goes together, and with `init`."""
    train, optimizer = parts.table("train", Train), parts.table("optimizer", Optimizer)
    if train and train.batch_size % train.accumulation:
        message = f"must be divisible by train.accumulation, {train.accumulation}; {train.batch_size} is not"
        parts.wrong(("train", "batch_size"), message)
    if train and train.init_losses and not parts.init:
        hint = "let init name a run of sslcli or one of its checkpoints, or leave it out"
        parts.wrong(("train", "init_losses"), "needs init, which names nothing", hint)
    if train and optimizer and optimizer.warmup_epochs > train.epochs:
        message = f"must be at most train.epochs, {train.epochs:g}, not {optimizer.warmup_epochs:g}"
        parts.wrong(("optimizer", "warmup_epochs"), message, "shorten the warm-up (0: none), or train for longer")


def check_schedules(parts: Parts) -> None:
    """What moves for so many epochs arrives within the run; a step that comes later than its end never comes."""
    train = parts.table("train", Train)
    if train is None:
        return
    choices = (parts.backbone, parts.routing, *parts.views.values(), *parts.mixed.values(), *parts.losses)
    tables: dict[KeyPath, Options] = {(name,): table for name, table in parts.tables.items()}
    tables |= {keys_of(choice.path): choice.options for choice in choices if choice is not None}
    for place, options in tables.items():
        for name, value in options:
            if isinstance(value, Schedule) and value.schedule != "step" and (value.epochs or 0) > train.epochs:
                message = f"must be at most train.epochs, {train.epochs:g}, not {value.epochs:g}"
                parts.wrong((*place, name, "epochs"), message, "shorten the move, or train for longer")


def keys_of(path: str) -> KeyPath:
    """`loss.0` as the keys of a recipe."""
    return tuple(int(key) if key.isdecimal() else key for key in path.split(".", 1))


def check_probe(parts: Parts) -> None:
    """A probe names one labelled set with splits, or two sets; `data = ""` switches off an inherited probe."""
    probe = parts.table("probe", Probe)
    if probe is None:
        return
    if probe.data and (probe.train or probe.test):
        parts.wrong(("probe", "data"), "cannot stand beside probe.train and probe.test", "say the one or the others")
    elif bool(probe.train) != bool(probe.test):
        lacking = "test" if probe.train else "train"
        parts.wrong(("probe", lacking), "is missing", "name both, or probe.data alone")
    elif not probe.data and not probe.train:
        if reach(parts.layers.data, ("probe", "data")):
            del parts.tables["probe"]
        else:
            parts.wrong(("probe", "data"), "is missing", 'name a labelled set, such as data = "demo"')
