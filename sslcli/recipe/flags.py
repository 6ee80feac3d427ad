"""Options from flags alone, for a plugin that no recipe names: `--set heads=6 --set network=student`."""

from collections.abc import Sequence

from sslcli.api import Offer, Options
from sslcli.errors import UserError
from sslcli.recipe.layers import Layers
from sslcli.recipe.mistakes import Mistake, Origin, tell
from sslcli.recipe.overrides import apply_overrides
from sslcli.recipe.words import validate


def options_from_flags(offer: Offer, flags: Sequence[str]) -> Options:
    """The options of an offer, as `--set KEY=VALUE` gives them. Raises UserError that tells all mistakes at once."""
    layers = Layers(Origin(f"{offer.kind} {offer.name}"))
    mistakes = apply_overrides(layers, flags)
    options, said = validate(offer.options, layers.data)
    mistakes += [layers.mistake(path, message, hint) for path, message, hint in said]
    if mistakes or options is None:
        raise all_told(mistakes, offer)
    return options


def all_told(mistakes: Sequence[Mistake], offer: Offer) -> UserError:
    """One error for all mistakes; the hint of the only one, or where to read up."""
    told = tell(mistakes)
    read_up = f"its options: sslcli plugins show {offer.name}"
    return UserError("\n".join(map(str, told)), (told[0].hint if len(told) == 1 else "") or read_up)
