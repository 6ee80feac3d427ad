"""`sslcli eval NAME RUN`: judge a backbone. Every evaluation is a plugin's; its options become flags."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.offered import TRIAL, OfferGroup, make_trial
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import RunError, UserError

if TYPE_CHECKING:
    from sslcli.api import Evaluation
    from sslcli.evaluation.reports import Report
    from sslcli.evaluation.trial import Trial

OWN = {
    "baselines": (
        Annotated[
            bool, typer.Option("--baselines", help="Also the run's own random start, and raw pixels if they can.")
        ],
        False,
    ),
    "save": (
        Annotated[bool, typer.Option("--save/--no-save", help="Keep the result beside the run, in its evaluations/.")],
        True,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print one JSON object; accuracies are shares.")], False),
}


class EvaluationGroup(OfferGroup):
    """The evaluations on offer."""

    kind, title, common = "evaluation", "Evaluations", {**TRIAL, **OWN}

    def perform(self, offer: "Evaluation", options: Any, given: dict[str, Any]) -> None:
        """Judge, tell, and keep what was found."""
        trial = make_trial(given, several=offer.sets == "many")
        from sslcli.evaluation.reports import keep
        from sslcli.plugins import resolve

        judge = resolve(offer.code)
        report = judge(options, trial)
        others = list(judged_besides(judge, options, baselines_of(offer, trial))) if given["baselines"] else []
        try:
            tell(report, others, as_json=given["json"])
        finally:  # behind the numbers, which a full disk must not cost, and even where their reader has gone
            if given["save"] and trial.folder is not None:
                talk(f"kept in {keep(report, trial.folder, made_by(options, trial))}")


app = typer.Typer(cls=EvaluationGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Judge a backbone.

    \b
    sslcli eval knn runs/quickstart --baselines
    sslcli eval NAME --help
    """


def judged_besides(
    judge: "Callable[[Any, Trial], Report]", options: Any, trials: "Iterable[Trial]"
) -> "Iterator[Report]":
    """What baselines gave; one that cannot be judged like the run is left out with a word, and costs it nothing."""
    for trial in trials:
        try:
            yield judge(options, trial)
        except (UserError, RunError) as refused:
            talk(f"warning: the baseline {trial.run} is left out: {refused.message}")


def baselines_of(offer: "Evaluation", trial: "Trial") -> "list[Trial]":
    """What a run has to beat, on the same pictures: its own random start, where it has a recipe, and raw pixels."""
    begun = [f"random:{trial.run}"] if trial.folder is not None else []
    pixels = ["pixels"] if offer.needs == "vectors" and trial.run != "pixels" else []
    return [replace(trial, run=run, sets=trial.asked, beside=trial) for run in (*begun, *pixels)]


def made_by(options: Any, trial: "Trial") -> dict[str, Any]:
    """The options that tell a kept result from others: the evaluation's own, and the pooling that was asked for."""
    own: dict[str, Any] = options.model_dump(mode="json")
    return own if trial.pool == "auto" else own | {"pool": trial.pool}


def tell(report: "Report", baselines: "Sequence[Report]", *, as_json: bool) -> None:
    """What was found, on stdout."""
    if as_json:
        more = {"baselines": [other.document() for other in baselines]} if baselines else {}
        print_json(report.document() | more)
    else:
        show([report, *baselines])


def show(reports: "Sequence[Report]") -> None:
    """The reports for a person: what was judged on what, then the rows of all, side by side."""
    from sslcli.evaluation.reports import cells, plainly

    first = reports[0]
    facts = {"protocol": first.protocol, "run": f"{first.run}: {first.judged}", "data": first.data, **first.facts}
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name.replace('_', ' '):<{width}}  {plainly(fact)}")
    print()
    found = [(report.run, *cells(report.document())) for report in reports]
    rows = [(run, *row) for run, _, lines in found for row in lines]
    table(rows, ("run", *found[0][1]))
