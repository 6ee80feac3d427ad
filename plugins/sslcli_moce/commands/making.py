"""Clusters from beginning to end: features, rounds of clustering, and everything written down."""

import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli import __version__
from sslcli.cli.output import talk
from sslcli.cli.progress import Standing
from sslcli.disk import expand, read_json
from sslcli.errors import Interrupted, UserError
from sslcli_moce.commands.cluster import MANIFEST, WORK

if TYPE_CHECKING:
    import torch

    from sslcli.data.source import Source
    from sslcli.evaluation.features import Table
    from sslcli.evaluation.subjects import Subject
    from sslcli_moce.balancing import Balance, Blocks
    from sslcli_moce.clustering import Asked
    from sslcli_moce.clustering import Standing as Stage
    from sslcli_moce.clusters import Clusters

NAMES = {"fingerprint": "pictures", "features": "backbone, or its pooling,"}  # what the user calls them


@dataclass(frozen=True)
class Making:
    """What clusters are made of, and how."""

    subject: "Subject"
    source: "Source"
    output: Path
    asked: "Asked"
    processes: int
    broken_limit: float
    cache: bool = True

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the result depends on."""
        made_of = {"fingerprint": self.source.fingerprint, "features": self.subject.fingerprint}
        return made_of | {"asked": asdict(self.asked)}

    def make(self, *, sheet: bool) -> None:
        """All of it, from wherever it was stopped."""
        began = time.monotonic()
        self.claim()
        table = self.features()
        enough(len(table.positions), self.asked.clusters, self.source.spec)
        try:
            self.write(table, sheet=sheet, began=began)
        except KeyboardInterrupt:
            kept = "the features and all finished rounds" if self.cache else "all finished rounds"
            raise Interrupted(f"interrupted: {kept} are kept", "the same command goes on from there") from None
        self.rounds_file.unlink(missing_ok=True)

    @property
    def rounds_file(self) -> Path:
        """Where it stands how far the clustering has come."""
        return self.output / WORK

    def claim(self) -> None:
        """Make the folder before anything is computed. Raises UserError."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            self.rounds_file.touch()
        except OSError as failure:
            raise UserError(
                f"cannot write to {self.output}: {failure.strerror or failure}", "name another folder"
            ) from failure

    def features(self) -> "Table":
        """Features of all pictures, from the cache or made now. Raises RunError when too many of these are broken."""
        from sslcli.evaluation.trial import Trial
        from sslcli.evaluation.vote import check_finite

        how = {"processes": self.processes, "cache": self.cache, "broken_limit": self.broken_limit, "note": talk}
        (table,) = Trial.of(self.subject, **how).tables([self.source])
        check_finite(table.features, "clustered")
        return table

    def write(self, table: "Table", *, sheet: bool, began: float) -> None:
        """Cluster the features, and write clusters, backbone and contact sheet; the manifest last."""
        from sslcli.evaluation.features import best_device
        from sslcli.nn.stored import save_backbone
        from sslcli_moce.clustering import nearness
        from sslcli_moce.clusters import ENCODER, SHEET, write_clusters
        from sslcli_moce.units import on_device

        device = best_device()
        blocks = on_device(table.features, device)
        stage, balance = self.rounds(blocks, len(table.positions), device)
        near = nearness(blocks, stage.centroids, stage.ids)
        clusters = self.clusters(stage, balance, table.positions, near, time.monotonic() - began)
        backbone: Any = self.subject.encoder.backbone
        card = self.subject.card.document() | {"pool": self.subject.encoder.pool, "backbone": self.subject.run}
        (self.output / MANIFEST).unlink(missing_ok=True)  # with --again: from here on the former clusters are none
        save_backbone(self.output / ENCODER, backbone, card)
        (self.output / SHEET).unlink(missing_ok=True)
        if sheet:
            self.draw(blocks, clusters, table.positions)
        write_clusters(self.output, clusters)

    def rounds(self, blocks: "Blocks", rows: int, device: "torch.device") -> tuple["Stage", "Balance"]:
        """Rounds until the pictures stay where they are, each kept, and the final plan."""
        from sslcli_moce.clustering import ROUNDS, beginning, finished, next_round
        from sslcli_moce.remembered import remember, remembered
        from sslcli_moce.seeding import seeds

        now = remembered(self.rounds_file, self.facts, rows, device)
        if now is None:
            talk(f"choosing the first {self.asked.clusters} centroids")
            now = beginning(seeds(blocks, self.asked.clusters, rows=rows, seed=self.asked.seed), rows, self.asked)
        with Standing(ROUNDS) as show:
            while now.moves:
                now = next_round(blocks, now, self.asked)
                remember(self.rounds_file, now, self.facts)
                show(now.round, f"round {now.round}: {now.changed:.2%} of pictures changed cluster")
        return finished(blocks, now, self.asked)

    def clusters(self, stage: "Stage", balance: "Balance", positions: Any, near: float, seconds: float) -> "Clusters":
        """What is written, with all that is noted of it."""
        import torch

        from sslcli.data.sources import absolute
        from sslcli_moce.clusters import NOWHERE, Clusters

        home = expand(self.subject.run)
        ids = torch.full((len(self.source),), NOWHERE, dtype=torch.int64)
        ids[positions] = stage.ids.long()
        found = Clusters(stage.centroids.cpu(), ids)
        manifest = {
            "data": absolute(self.source.spec),
            **self.facts,
            "pictures": len(self.source),
            "broken": int((ids == NOWHERE).sum()),
            "run": str(home.absolute()) if home.exists() else self.subject.run,
            "pool": self.subject.encoder.pool,
            "card": self.subject.card.document(),
            "seed": self.asked.seed,
            "epsilon": stage.epsilon,
            "decided": balance.decided,
            "rounds": stage.round,
            "passes": stage.passes,
            "balance": balance.deviation,
            "tolerance": self.asked.tolerance,
            "cosine": near,  # of a picture with its centroid, in the mean: what is far from all is told by it
            "sizes": found.sizes.tolist(),
            "seconds": round(seconds, 2),
            "version": __version__,
        }
        return Clusters(found.centroids, ids, manifest)

    def draw(self, blocks: "Blocks", clusters: "Clusters", positions: Any) -> None:
        """The contact sheet."""
        from sslcli_moce.clusters import SHEET
        from sslcli_moce.sheet import ACROSS, foremost, shown, write_sheet

        rows = shown(clusters.sizes)
        nearest = foremost(blocks, clusters.centroids, clusters.ids[positions], rows, ACROSS)
        write_sheet(self.output / SHEET, self.source, clusters.sizes, rows, positions, nearest)


def enough(pictures: int, clusters: int, data: str) -> None:
    """Refuse more clusters than pictures."""
    if pictures < clusters:
        raise UserError(
            f"{clusters} clusters of {pictures} pictures of {data} are too many",
            f"ask for fewer, such as '--clusters {max(pictures // 50, 1)}'",
        )


def is_finished(output: Path, facts: dict[str, Any]) -> bool:
    """Whether the folder holds just these clusters. Raises UserError when it holds others."""
    noted = read_json(output / MANIFEST)
    if not noted:
        return False
    for name, words in (*NAMES.items(), ("asked", "options")):
        if noted.get(name) != facts[name]:
            raise UserError(
                f"{output} holds clusters made otherwise: the {words} differ", "name another folder, or add --again"
            )
    return True
