"""The routing map of a mixture: what `sslcli moce routing` draws, as a figure beside the others."""

from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.trial import Trial
from sslcli_moce.commands.mixture import open_mixture
from sslcli_moce.diagnosis import diagnose, words
from sslcli_moce.figure_options import RoutingMapOptions
from sslcli_moce.figures import routing_figure


def draw(options: RoutingMapOptions, trial: Trial) -> Drawing:
    """A map a block, and the load of its experts beside it. Raises UserError for what is no mixture by clusters."""
    mixture = open_mixture(trial.run, options.clusters, note=trial.note)
    layers = diagnose(mixture.backbone)
    problems = words(layers)
    said = (
        "The gate of each cluster of training pictures: the darker, the surer it goes to that expert. Beside it the "
        "share of the pictures that each expert gets; dotted, what it would be if all got as many."
    )
    facts = {str(block): layer.document() for block, layer in layers.items()}
    return Drawing(
        "Routing",
        routing_figure(layers),
        " ".join([said, *(f"{problem[:1].upper()}{problem[1:]}." for problem in problems)]),
        {"blocks": facts, "problems": problems},
    )
