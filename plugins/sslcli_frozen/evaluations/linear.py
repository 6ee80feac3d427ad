"""`sslcli eval linear`: linear heads on frozen features, chosen on a part held out, tested once.

The grid of blocks, tokens and rates is that of DINOv2 (arXiv:2304.07193). Features are made once and kept, but for
`augment`, where the backbone runs in every epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from sslcli.data.judged import stratified
from sslcli.errors import UserError
from sslcli.evaluation.linear import linear as logistic
from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.trial import Trial
from sslcli.words import counted, flags
from sslcli_frozen.evaluations.feeding import Anew, Kept, Order, random_crop
from sslcli_frozen.evaluations.heads import Head, Stack
from sslcli_frozen.evaluations.learning import Feed, Score, first_five, grid, learn, ranked, scores
from sslcli_frozen.evaluations.meaning import check_warmup, seen
from sslcli_frozen.evaluations.rows import Rows, features_of
from sslcli_frozen.evaluations.sight import OWN, Sight
from sslcli_frozen.options import LinearOptions

ONE_IN = 10  # of each class, held out to choose by
SHOWN = 5  # heads in the table
OF_REGRESSION = {"method", "protocol", "seed"}  # what is said of logistic regression too
SHARES = ("held_out", "top1", "top5")


def judge(options: LinearOptions, trial: Trial) -> Report:
    """The accuracy of the head that a tenth of the training pictures chose, and how all heads did on that tenth."""
    if options.method == "logistic":
        return by_regression(options, trial)
    options, sight, layouts = seen(options, trial)
    check_warmup(options)
    return Probing(options, trial, sight, features_of(trial, sight)).report(grid(options, layouts))


def by_regression(options: LinearOptions, trial: Trial) -> Report:
    """Logistic regression on the run's own vector."""
    if options.protocol:
        raise UserError(f"the protocol {options.protocol} trains by steps", "leave out '--method logistic'")
    if ignored := [name for name in LinearOptions.model_fields if name in options.model_fields_set - OF_REGRESSION]:
        raise UserError(f"{flags(ignored)}: logistic regression trains no heads in steps", "leave out one or the other")
    train, test = trial.labelled()
    found = logistic(train.features, train.labels, test.features, test.labels, seed=options.seed)
    row = {"c": found.c, **share_of("top1", found.right, options.seed)}
    facts = {
        "method": "logistic regression, its C chosen on a fifth of each class",
        "train": len(train.labels),
        "test": len(test.labels),
        "width": train.features.shape[1],
        "classes": len(trial.judged.classes),
    }
    return Report("linear", trial.run, trial.subject.said, trial.judged.said, [row], facts, shares=SHARES)


@dataclass(frozen=True)
class Probing:
    """A trial with everything that heads need: how they learn, what they see, and the rows."""

    options: LinearOptions
    trial: Trial
    sight: Sight
    rows: Rows

    def report(self, heads: list[list[Head]]) -> Report:
        """Choose where there is a choice, learn from all training pictures, test."""
        count = sum(map(len, heads))
        found = self.chosen(heads) if count > 1 else []
        best = found[0].head if found else heads[0][0]
        self.warn_of_edge(best.lr)
        first = described(best) | {"held_out": found[0].right if found else None} | self.tested(best)
        others = [described(score.head) | {"held_out": score.right} for score in found[1:SHOWN]]
        details = {"grid": [scored(score) for score in found]}
        trial, rows = self.trial, [first, *others]
        said = (trial.run, trial.subject.said, trial.judged.said)
        return Report("linear", *said, rows, self.facts(count), shares=SHARES, details=details)

    def warn_of_edge(self, lr: float) -> None:
        """Tell where a rate beyond those that were tried may be better still."""
        rates = self.options.lrs
        if len(rates) > 1 and lr in (min(rates), max(rates)):
            edge = "largest" if lr == max(rates) else "smallest"
            self.trial.note(f"linear: the best rate, {lr:g}, is the {edge} that was tried: try more by --lrs")

    def tested(self, head: Head) -> dict[str, Any]:
        """What a head that has learnt from all training pictures gets right of the test pictures."""
        (stack,) = self.learnt([[head]], torch.ones(len(self.rows.train[1]), dtype=torch.bool))
        predicted = first_five(stack, self.rows.test[0], self.sight, self.trial.device)
        right = predicted == self.rows.test[1][:, None]
        return share_of("top1", right[:, 0], self.options.seed) | {"top5": right.any(dim=1).double().mean().item()}

    def chosen(self, heads: list[list[Head]]) -> list[Score]:
        """All heads, best first, by a tenth of each class that they did not learn from. Raises UserError."""
        rows, labels, _ = self.rows.train
        held = torch.from_numpy(stratified(labels.numpy(), self.options.seed, one_in=ONE_IN))
        if not held.any():
            raise UserError(
                f"too few pictures in {self.trial.judged.train.spec} to choose among heads",
                "leave no choice: one of --lrs, --layers and --pooling, such as '--lrs 0.01 --layers 1 --pooling cls'",
            )
        stacks = self.learnt(heads, ~held)
        found = scores(stacks, rows[held], labels[held], self.sight, self.trial.device)
        return [found[place] for place in ranked(found)]

    def learnt(self, heads: list[list[Head]], members: Tensor) -> list[Stack]:
        """Stacks that have learnt from some of the training pictures, bool `[N]`."""
        feed = self.feed(members)
        count, classes = sum(map(len, heads)), len(self.trial.judged.classes)
        self.trial.note(
            f"linear: {counted(count, 'head')} {'learns' if count == 1 else 'learn'} from "
            f"{counted(int(members.sum()), 'picture')}, "
            f"{counted(self.options.epochs, 'epoch')} of {counted(feed.order.steps, 'step')}"
        )
        return learn(heads, feed, self.sight, classes, self.options, device=self.trial.device, note=self.trial.note)

    def feed(self, members: Tensor) -> Feed:
        """Their rows as they were made, or of crops that are drawn anew."""
        trial, options = self.trial, self.options
        rows, labels, positions = (part[members] for part in self.rows.train)
        order = Order.of(len(labels), options.batch_size, options.seed)
        if not options.augment:
            return Kept(rows, labels, order, trial.device)
        crop = random_crop(trial.card.image_size, options.fit)
        encoder, source = self.sight.encoder, trial.judged.train
        return Anew(encoder, source, trial.card, positions, labels, self.rows.shift, crop, order, trial.device)

    def facts(self, count: int) -> Mapping[str, Any]:
        """What was done to what."""
        options = self.options
        train, test = len(self.rows.train[1]), len(self.rows.test[1])
        chosen = "one, nothing was chosen" if count == 1 else f"{count}, the best by a tenth of each class held out"
        preset = {"preset": options.protocol} if options.protocol else {}
        return preset | {
            "heads": f"{chosen}, then tested after learning from all training pictures",
            "train": train,
            "test": test,
            "width": self.rows.train[0].shape[1],
            "classes": len(self.trial.judged.classes),
            "epochs": options.epochs,
            "batch": min(options.batch_size, train),
            "pictures_shown": "cropped anew each epoch" if options.augment else "as they are tested, once",
        }


def described(head: Head) -> dict[str, Any]:
    """A head as the beginning of a row."""
    return {
        "layers": None if head.layout.pooling == OWN else head.layout.layers,
        "pooling": head.layout.pooling,
        "optimizer": head.optimizer,
        "lr": head.lr,
        "weight_decay": head.weight_decay,
    }


def scored(score: Score) -> dict[str, Any]:
    """A head of the grid as plain data; JSON has no word for a loss that has grown beyond all bounds."""
    return described(score.head) | {"held_out": score.right, "loss": score.loss if isfinite(score.loss) else None}
