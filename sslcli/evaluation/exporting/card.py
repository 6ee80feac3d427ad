"""The README.md of an exported network, a model card as the Hub knows it: all that the run says of itself, no more.

The licence is left to whoever gives the weights away: it depends on the pictures that they learned from.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sslcli.evaluation.exporting.choosing import Chosen
from sslcli.evaluation.exporting.written import Written
from sslcli.evaluation.reports import cells, kept_reports
from sslcli.plugins import load_registry
from sslcli.report.described import Part, losses_of, part_of, training_of
from sslcli.report.made import made_of

LEAVE = "# license: say here under which licence you give these weights away"


def card_text(chosen: Chosen, written: Written, folder: str, command: str) -> str:
    """The whole card."""
    parts = [
        header(written),
        f"# {chosen.facts.get('recipe') or chosen.run}",
        lead(chosen),
        "## How to load it",
        fenced("python", written.loading.replace("FOLDER", folder)),
        notes(written),
        *training(chosen),
        "## How pictures are shown to it",
        shown(chosen),
        *judged(chosen),
        "## How it was made",
        tool(written),
        fenced("console", f"$ {command}"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(written: Written) -> str:
    """What the Hub reads."""
    library = [f"library_name: {written.library}"] if written.library else []
    tags = ["tags:", "- image-feature-extraction", "- self-supervised-learning", "- sslcli"]
    return "\n".join(["---", LEAVE, *library, "pipeline_tag: image-feature-extraction", *tags, "---"])


def lead(chosen: Chosen) -> str:
    """What it is, in a sentence or two."""
    if not chosen.subject.recipe:
        return f"A vision backbone: {chosen.subject.said}."
    names = [loss.name for loss in losses_of(chosen.subject.recipe, load_registry())]
    by = f" by {', '.join(names)}" if names else ""
    return f"A vision backbone, trained without labels{by}: {chosen.subject.said}. It has no head: it gives features."


def training(chosen: Chosen) -> Iterator[str]:
    """The recipe's facts as a table, where there is a recipe."""
    recipe = chosen.subject.recipe
    if recipe:
        yield "## How it was trained"
        yield markdown(("", ""), list(facts_of(chosen, recipe).items()))


def facts_of(chosen: Chosen, recipe: Mapping[str, Any]) -> dict[str, str]:
    """What a reader wants to know of the training."""
    registry = load_registry()
    losses = {f"loss {part.name}": said(part) for part in losses_of(recipe, registry)}
    backbone = part_of("backbone", recipe.get("backbone", {}), registry)
    made = made_of(chosen.folder) if chosen.folder else None
    samples = f", {made.samples} pictures" if made and made.samples else ""
    origin = {"imported": f"from {made.origin.get('file', '')}"} if made and made.origin else {}
    reached = {key: f"{chosen.facts[key]:g}" for key in ("step", "epoch") if key in chosen.facts}
    return {
        "data": f"{recipe.get('data', {}).get('train', 'not said')}{samples}",
        "network": chosen.network,
        **origin,
        **({"reached": ", ".join(f"{name} {number}" for name, number in reached.items())} if reached else {}),
        **losses,
        f"backbone {backbone.name}": said(backbone),
        **training_of(recipe),
    }


def said(part: Part) -> str:
    """A part of a recipe in a line."""
    paper = f"[{part.paper}]({part.link})" if part.link else part.paper
    weight = f"weight {part.weight}" if part.weight else ""
    return "; ".join(words for words in (part.summary, paper, weight, part.options) if words)


def shown(chosen: Chosen) -> str:
    """Size, share, colours, and which vector was judged."""
    card = chosen.subject.card
    rows = [
        ("resized", f"shorter side to {card.resized} pixels, bicubic"),
        ("cut", f"{card.image_size} x {card.image_size} from the middle"),
        ("mean", ", ".join(f"{value:g}" for value in card.mean)),
        ("spread", ", ".join(f"{value:g}" for value in card.std)),
    ]
    pool = getattr(chosen.subject.encoder, "pool", "auto")
    judging = [] if pool == "auto" else [("judged by", f"{pool} pooling, where the network itself may pool otherwise")]
    return markdown(("", ""), [*rows, *judging])


def judged(chosen: Chosen) -> Iterator[str]:
    """The evaluations that are kept beside the run; each says which network it judged."""
    for number, document in enumerate(kept_reports(chosen.folder) if chosen.folder else ()):
        if number == 0:
            yield "## How it was judged"
            yield "Kept beside the run; a number in brackets is its 95 % interval, where there is one."
        headers, rows = cells(document)
        yield f"{document['protocol']} of {document.get('judged', 'the run')}: {document.get('data', '')}"
        yield markdown(headers, rows)


def notes(written: Written) -> str:
    """What else a reader must know, such as the opset."""
    return "\n".join(f"* {name}: {fact}" for name, fact in written.facts.items())


def tool(written: Written) -> str:
    """What was checked."""
    return (
        f"{written.found} of {written.tensors} tensors are in it. Opened again by {written.tool}, it gave the features "
        f"of the run on a fixed batch; the largest difference was {written.difference:.1e}."
    )


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(str(value).replace('|', '/') for value in line)} |" for line in lines)


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"
