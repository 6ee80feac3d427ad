"""Clusters from beginning to end: claim the folder, make features, cluster them, write everything down."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli import __version__
from sslcli.cli.output import talk
from sslcli.cli.progress import Standing, duration
from sslcli.errors import Interrupted, UserError
from sslcli_moce.commands.cluster import MANIFEST, WORK

if TYPE_CHECKING:
    from sslcli.data.source import Source
    from sslcli.evaluation.subjects import Subject
    from sslcli_moce.balancing import Balance
    from sslcli_moce.clustering import Asked
    from sslcli_moce.clustering import Standing as Stage
    from sslcli_moce.clusters import Clusters
    from sslcli_moce.kept import Kept

CLAIM = "claim.json"
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

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the result depends on."""
        made_of = {"fingerprint": self.source.fingerprint, "features": self.subject.fingerprint}
        return made_of | {"asked": asdict(self.asked)}

    @cached_property
    def kept(self) -> "Kept":
        """Where features are meanwhile."""
        from sslcli_moce import kept

        return kept.Kept(self.output / WORK, len(self.source), kept.BLOCK)

    def claim(self, *, again: bool) -> None:
        """Note whose features these are; refuse a folder with others, or clear these away."""
        made_of = {name: self.facts[name] for name in NAMES} | {"size": self.kept.size}
        noted = read(self.kept.folder / CLAIM)
        if noted != made_of and self.kept.folder.is_dir():
            if noted and not again:
                name = next((NAMES[name] for name in NAMES if noted.get(name) != made_of[name]), "blocks")
                raise UserError(
                    f"{self.output} was begun with other inputs: the {name} differ",
                    "name another folder, or begin anew with --again",
                )
            shutil.rmtree(self.kept.folder)
        try:
            self.kept.folder.mkdir(parents=True, exist_ok=True)
            (self.kept.folder / CLAIM).write_text(json.dumps(made_of), encoding="utf-8")
        except OSError as failure:
            raise UserError(
                f"cannot write to {self.kept.folder}: {failure.strerror or failure}", "name another folder"
            ) from failure

    def make(self, *, sheet: bool, keep: bool) -> None:
        """All of it, from wherever it was stopped."""
        began = time.monotonic()
        try:
            self.extract()
            self.write(sheet=sheet, began=began)
        except KeyboardInterrupt:
            have = self.kept.blocks - len(self.kept.missing())
            raise Interrupted(
                f"interrupted: {have} of {self.kept.blocks} blocks of features are in {self.kept.folder}",
                "the same command goes on from there",
            ) from None
        if not keep:
            shutil.rmtree(self.kept.folder)

    def extract(self) -> None:
        """Features of all pictures. Raises RunError when too many of these are broken."""
        from sslcli.data.broken import BrokenCount
        from sslcli_moce.commands.features import make_features

        total = len(self.source)
        broken = BrokenCount(
            total, limit=self.broken_limit, warn=lambda text: talk(f"warning: {text}"), knob="--broken-limit"
        )
        there, began = self.kept.there(), time.monotonic()
        begun = sum(len(self.kept.numbers(block)) for block in there)
        if begun:
            talk(f"features of {begun} of {total} pictures are there already")
        for block in there:
            broken.add(self.kept.broken(block))

        with Standing(total) as show:

            def made(more: int) -> None:
                for block in set(self.kept.there()) - set(there):
                    broken.add(self.kept.broken(block))
                    there.append(block)
                done = sum(len(self.kept.numbers(block)) for block in there) + more
                speed = (done - begun) / max(time.monotonic() - began, 1e-9)
                left = duration((total - done) / speed) if speed else "?"
                show(done, f"features of {done} of {total} pictures, {speed:.1f} a second, {left} left")

            make_features(self.subject, self.source, self.kept, processes=self.processes, made=made)
            made(0)

    def write(self, *, sheet: bool, began: float) -> None:
        """Cluster the features, and write clusters, backbone and contact sheet; the manifest last."""
        from sslcli.nn.stored import save_backbone
        from sslcli_moce.clustering import nearness
        from sslcli_moce.clusters import ENCODER, SHEET, write_clusters
        from sslcli_moce.commands.features import on_device

        positions = self.kept.positions()
        enough(len(positions), self.asked.clusters, self.source.spec)
        kept, blocks = on_device(self.kept)
        stage, balance = self.rounds(kept, blocks, len(positions))
        near = nearness(blocks, stage.centroids, stage.ids)
        clusters = self.clusters(stage, balance, positions, near, time.monotonic() - began)
        backbone: Any = self.subject.encoder.backbone
        card = self.subject.card.document() | {"pool": self.subject.encoder.pool, "backbone": self.subject.run}
        save_backbone(self.output / ENCODER, backbone, card)
        (self.output / SHEET).unlink(missing_ok=True)
        if sheet:
            self.draw(blocks, clusters, positions)
        write_clusters(self.output, clusters)

    def rounds(self, kept: "Kept", blocks: Any, rows: int) -> tuple["Stage", "Balance"]:
        """Rounds until the pictures stay where they are, each kept, and the final plan."""
        from sslcli_moce.clustering import ROUNDS, beginning, finished, next_round
        from sslcli_moce.seeding import seeds

        now = kept.remembered(self.asked)
        if now is None:
            talk(f"choosing the first {self.asked.clusters} centroids")
            now = beginning(seeds(blocks, self.asked.clusters, rows=rows, seed=self.asked.seed), rows, self.asked)
        with Standing(ROUNDS) as show:
            while now.moves:
                now = next_round(blocks, now, self.asked)
                kept.remember(now, self.asked)
                show(now.round, f"round {now.round}: {now.changed:.2%} of pictures changed cluster")
        return finished(blocks, now, self.asked)

    def clusters(self, stage: "Stage", balance: "Balance", positions: Any, near: float, seconds: float) -> "Clusters":
        """What is written, with all that is noted of it."""
        import torch

        from sslcli.data.sources import absolute
        from sslcli_moce.clusters import NOWHERE, Clusters

        home = Path(self.subject.run).expanduser()
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

    def draw(self, blocks: Any, clusters: "Clusters", positions: Any) -> None:
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
    noted = read(output / MANIFEST)
    if not noted:
        return False
    for name, words in (*NAMES.items(), ("asked", "options")):
        if noted.get(name) != facts[name]:
            raise UserError(
                f"{output} holds clusters made otherwise: the {words} differ", "name another folder, or add --again"
            )
    return True


def read(file: Path) -> dict[str, Any]:
    """A JSON object; nothing where there is none that is whole."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
