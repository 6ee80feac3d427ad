"""Weights into a backbone: names matched under whatever prefix, positions resized, and a report of what did not fit."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone
from sslcli.nn.positions import Grid, grid_of, resize_positions

FIRST = (
    "online",
    "base_encoder",
    "teacher",
    "student",
    "momentum_encoder",
    "target",
)  # of networks that fit equally well


@dataclass(frozen=True)
class Report:
    """Names of tensors: loaded (resized ones too), left at their random start, and left out of the file."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    resized: tuple[str, ...]
    origin: str = ""

    def text(self) -> str:
        """The report in a line or two."""
        total = len(self.matched) + len(self.missing)
        source = f" from {self.origin}" if self.origin else ""
        resized = f", resized: {some(self.resized)}" if self.resized else ""
        lines = [f"loaded {len(self.matched)} of {total} tensors{source}{resized}"]
        rest = {"left at their start": self.missing, "not used": self.unexpected}
        said = [f"{words}: {some(names)}" for words, names in rest.items() if names]
        return "\n".join([*lines, "; ".join(said)] if said else lines)


def some(names: tuple[str, ...], limit: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


@torch.no_grad()
def load_into(backbone: Backbone, state: Mapping[str, Tensor]) -> Report:
    """Copy the tensors of a state dict whose names fit into `backbone.exported`.

    Names may have a common prefix (`module.`, `teacher.backbone.`). Position tables are resized to the backbone's grid;
    a dense MLP fills all experts in its place. Any other difference of shape, and a state of which nothing fits, is a
    `UserError`.
    """
    own = backbone.exported.state_dict()
    prefix, others = prefix_of(state, own.keys() | {dense_name(name) for name in own})
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    found = {name: given.get(name, given.get(dense_name(name))) for name in own}
    loaded = {name: tensor for name, tensor in found.items() if tensor is not None}
    resized = tuple(name for name, tensor in loaded.items() if is_other_grid(name, tensor, own[name]))
    for name in resized:
        loaded[name] = fit_positions(name, loaded[name], own[name], backbone.grid)
    check_shapes(loaded, own)
    backbone.exported.load_state_dict(loaded, strict=False)
    used = {prefix + known for name in loaded for known in (name, dense_name(name))}
    return Report(
        tuple(loaded),
        tuple(name for name in own if name not in loaded),
        tuple(name for name in state if name not in used),
        resized,
        getattr(state, "origin", "") + chosen(prefix, others),
    )


def prefix_of(state: Mapping[str, Tensor], names: set[str]) -> tuple[str, list[str]]:
    """The prefix under which most of `names` are found, and others under which as many are."""
    counts: Counter[str] = Counter()
    for key in state:
        cuts = [0, *(match.end() for match in re.finditer(r"\.", key))]
        counts.update(key[:cut] for cut in cuts if key[cut:] in names)
    if not counts:
        raise UserError(
            f"nothing in the weights fits the backbone: they have {some(tuple(state)) or 'no tensors'}; "
            f"the backbone has {some(tuple(sorted(names)))}",
            "is it another architecture? see [backbone] in the recipe",
        )
    most = max(counts.values())
    equal = sorted((prefix for prefix, count in counts.items() if count == most), key=preference)
    return equal[0], equal[1:]


def preference(prefix: str) -> tuple[int, int, str]:
    """What to order equally good prefixes by."""
    ranks = [FIRST.index(part) for part in prefix.split(".") if part in FIRST]
    return min(ranks, default=len(FIRST)), len(prefix), prefix


def chosen(prefix: str, others: list[str]) -> str:
    """Which of several networks was taken, in words."""
    if not prefix:
        return ""
    also = f", not {' or '.join(other.strip('.') for other in others)}" if others else ""
    return f" ({prefix.strip('.')}{also})"


def dense_name(name: str) -> str:
    """What a parameter of an expert is called where the block has one MLP."""
    return re.sub(r"\.experts\.\d+\.", ".", name)


def is_other_grid(name: str, given: Tensor, own: Tensor) -> bool:
    """Whether this is a table of positions for another grid, or with other prefix tokens."""
    return name.split(".")[-1] == "pos_embed" and given.shape[::2] == own.shape[::2] and given.shape != own.shape


def fit_positions(name: str, given: Tensor, own: Tensor, grid: Grid) -> Tensor:
    """A table `[1, prefix + N, D]` for our grid; rows of prefix tokens that it lacks stay at their start."""
    prefix = own.shape[1] - grid[0] * grid[1]
    found = grid_of(given.shape[1], (prefix, *range(10)))
    if found is None:
        raise UserError(
            f"{name} has {given.shape[1]} positions, which are no square grid of patches with up to 9 prefix tokens",
            f"give the backbone the image_size that it was trained with; now it has {grid[0]}x{grid[1]} patches",
        )
    theirs, old = found
    shared = min(theirs, prefix)
    patches = resize_positions(given[:, theirs:], old, grid)
    return torch.cat([given[:, :shared], own[:, shared:prefix].to(given), patches], dim=1)


def check_shapes(loaded: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse tensors of another shape; a backbone of other sizes would be half loaded."""
    wrong = [name for name, tensor in loaded.items() if tensor.shape != own[name].shape]
    if not wrong:
        return
    patch = next((name for name in wrong if name.endswith("patch_embed.proj.weight")), "")
    if patch and loaded[patch].shape[:2] == own[patch].shape[:2]:
        size = loaded[patch].shape[-1]
        raise UserError(
            f"the weights are for patches of {size} pixels, the backbone has patches of {own[patch].shape[-1]}",
            f"set backbone.patch_size = {size}",
        )
    said = "; ".join(f"{name} is {list(loaded[name].shape)}, not {list(own[name].shape)}" for name in wrong[:3])
    raise UserError(
        f"{len(wrong)} of the weights have other sizes than the backbone's: {said}",
        "set the sizes in [backbone] (model, width, depth, ...) to those of the weights",
    )
