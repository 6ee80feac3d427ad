"""`sslcli moce`: cluster the pictures, look at the routing, give a task its own ordinary backbone, compare."""

import typer

from sslcli_moce.commands.cluster import cluster
from sslcli_moce.commands.routing import routing
from sslcli_moce.commands.select_expert import select_expert
from sslcli_moce.commands.study import study

app = typer.Typer(no_args_is_help=True, help="One training, an ordinary ViT for every task (MoCE).")


@app.callback()
def group() -> None:
    """One training, an ordinary ViT for every task (MoCE)."""


app.command("select-expert")(select_expert)
app.command("routing")(routing)
app.command("study")(study)
app.command("cluster")(cluster)
