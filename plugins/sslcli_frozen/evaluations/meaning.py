"""What the options of `sslcli eval linear` mean for one backbone, and which of them cannot be meant."""

from collections.abc import Sequence

from sslcli.errors import UserError
from sslcli.evaluation.trial import Trial
from sslcli.nn.last_blocks import token_blocks
from sslcli.words import counted
from sslcli_frozen.evaluations.sight import OWN, Layout, Sight, sight_of
from sslcli_frozen.options import LinearOptions
from sslcli_frozen.presets import resolved


def seen(options: LinearOptions, trial: Trial) -> tuple[LinearOptions, Sight, list[Layout]]:
    """The options as they are meant for this backbone, and what heads read of it. Raises UserError."""
    encoder = trial.subject.encoder
    backbone = getattr(encoder, "backbone", None)
    depth = len(token_blocks(backbone)) if backbone is not None else 0
    said = options.model_fields_set
    options = resolved(options, getattr(backbone, "width", 0))
    if not depth:
        refuse_choice(said & {"layers", "pooling"}, trial.run)
        return options, sight_of(encoder, 0), [Layout(1, OWN)]
    layers = options.layers if options.protocol or "layers" in said else [n for n in options.layers if n <= depth]
    check_blocks(max(layers), depth)
    sight = sight_of(encoder, max(layers))
    pooling = poolings(options.pooling, sight.parts > 1, asked="pooling" in said, pool=trial.pool)
    return options, sight, [Layout(number, one) for number in dict.fromkeys(layers) for one in pooling]


def refuse_choice(asked: set[str], run: str) -> None:
    """Where a backbone gives one vector there is nothing to choose. Raises UserError."""
    if asked:
        flags = " and ".join(f"--{name}" for name in sorted(asked))
        raise UserError(f"{run} has no blocks of tokens that heads could read", f"leave out {flags}")


def poolings(wanted: Sequence[str], classed: bool, *, asked: bool, pool: str) -> list[str]:
    """The tokens that heads read: those asked for, or that of `--pool`, as far as the backbone has them."""
    chosen = [pool] if pool != "auto" and not asked else list(dict.fromkeys(wanted))
    if classed:
        return chosen
    if "mean" not in chosen:
        raise UserError("this backbone has no CLS token", "use '--pooling mean'")
    return ["mean"]


def check_warmup(options: LinearOptions) -> None:
    """Refuse a rate that never reaches its peak. Raises UserError."""
    if options.warmup_epochs >= options.epochs:
        raise UserError(
            f"the rate rises for {counted(options.warmup_epochs, 'epoch')}, and there are {options.epochs}",
            "give more --epochs, or fewer --warmup-epochs",
        )


def check_blocks(blocks: int, depth: int) -> None:
    """Refuse more blocks than there are. Raises UserError."""
    if blocks > depth:
        raise UserError(
            f"heads should read the last {blocks} blocks of a backbone that has {depth}", f"use '--layers {depth}'"
        )
