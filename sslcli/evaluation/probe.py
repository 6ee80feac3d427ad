"""kNN while training: the labelled pictures of `[probe]`, judged again and again with the backbone as it stands."""

import sys
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from sslcli.data.broken import BrokenCount
from sslcli.data.judged import open_judged
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import BATCH, Crops, Pictures, best_device, encode, load
from sslcli.evaluation.opening import card_of
from sslcli.evaluation.trial import labels_of
from sslcli.evaluation.vote import check_ks, knn
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pooled
from sslcli.recipe.tables import Data, Evaluation, Probe, Recipe

Note = Callable[[str], None]


def tell(line: str) -> None:
    """Talk goes to stderr."""
    print(line, file=sys.stderr, flush=True)


class KnnProbe:
    """Scores a backbone on labelled pictures.

    They are opened at once, so that a mistake shows before training; decoded at the first score; and kept as crops when
    all of them fit in `data.cache_megabytes`. Broken ones are left out, and told of through `note`.
    """

    def __init__(self, probe: Probe, evaluation: Evaluation, data: Data, card: Card, *, note: Note) -> None:
        self.probe, self.evaluation, self.data, self.card = probe, evaluation, data, card
        self.judged = open_judged(probe.data, probe.train, probe.test, max_megapixels=data.max_megapixels)
        check_ks(probe.k, len(self.judged.train))
        self.parts = {"train": self.judged.train, "test": self.judged.test}
        self.held: dict[str, list[Crops]] = {}
        pictures = sum(map(len, self.parts.values()))
        self.broken = BrokenCount(
            pictures, limit=data.broken_limit, policy=data.broken, warn=lambda text: note(f"warning: {text}")
        )

    def score(self, backbone: Backbone) -> dict[str, float]:
        """Shares right: `knn_top1` and `knn_top5` for the recipe's first k, `knn_top1_k100` and so on for others."""
        train, train_labels = self.features(backbone, "train")
        test, test_labels = self.features(backbone, "test")
        results = knn(
            train,
            train_labels,
            test,
            test_labels,
            ks=self.probe.k,
            temperature=self.probe.temperature,
            classes=len(self.judged.classes),
            device=best_device(),
        )
        suffix = {k: f"_k{k}" for k in self.probe.k} | {self.probe.k[0]: ""}
        top1 = {f"knn_top1{suffix[result.k]}": result.top1 for result in results}
        return top1 | {f"knn_top5{suffix[result.k]}": result.top5 for result in results}

    def features(self, backbone: Backbone, part: str) -> tuple[Tensor, Tensor]:
        """Features and labels of one part, by the backbone as it stands, where it stands."""
        device = next(backbone.parameters()).device
        table = encode(Pooled(backbone, self.evaluation.pool), self.crops(part), self.card, device=device)
        self.broken.add(table.broken)
        return table.features, labels_of(self.parts[part], table)

    def crops(self, part: str) -> Iterator[Crops]:
        """The pictures of one part, from memory if they were kept there."""
        if part not in self.held:
            source = self.parts[part]
            batches = load(Pictures(source, self.card, range(len(source))), BATCH, self.data.workers)
            if not self.fits:
                return batches
            self.held[part] = list(batches)
        return iter(self.held[part])

    @property
    def fits(self) -> bool:
        """Whether the crops of both parts may stay in memory."""
        pictures = sum(len(source) for source in self.parts.values())
        return self.data.cache and pictures * 3 * self.card.image_size**2 <= self.data.cache_megabytes << 20


def make_probe(recipe: Recipe, *, note: Note = tell) -> Callable[[Backbone], Mapping[str, float]] | None:
    """The probe that a recipe asks for, to hand to the trainer; None when it asks for none."""
    if recipe.probe is None:
        return None
    return KnnProbe(recipe.probe, recipe.evaluation, recipe.data, card_of(recipe), note=note).score
