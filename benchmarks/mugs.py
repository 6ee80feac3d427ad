"""A training step of Mugs here against the step of the released code, on equal images and weights, in one run.

    python benchmarks/mugs.py [--recipe mugs/vit_small-imagenet-100ep] [--batch 4] [--blocks 6] [--set KEY=VALUE]

The other side does what the released code does, in its order: one forward a crop size, a matrix of logits for each of
the 22 pairs of crops, a search in one copy of the memory and a look-up in another, three copies written, gradients
clipped and the teacher moved tensor by tensor, AdamW as torch has it by default. Crops are cut and normalised
beforehand on both sides, so the loader is out of the picture. Single steps alternate between the two; the ratio is of
the medians. The first losses are printed: with `backbone.drop_path=0.0` they are equal.
"""

import argparse
import json
import statistics
import time
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcli.api import Context, Progress
from sslcli.nn import Backbone, Momentum
from sslcli.nn.momentum import update_all
from sslcli.recipe import load_recipe
from sslcli.recipe.tables import Recipe
from sslcli.training import optimizer as rules
from sslcli.training.building import build_backbone, build_pretraining, context_of

SAMPLES = 1_281_167


class Side(ABC):
    """One of the two: a model of the recipe, its optimizer, and the images of a step."""

    def __init__(self, recipe: Recipe, context: Context, device: torch.device) -> None:
        self.recipe, self.context, self.device = recipe, context, device
        self.model = build_pretraining(recipe, context, build_backbone(recipe, context)).to(device).train()
        generator = torch.Generator().manual_seed(0)
        size = context.batch_size
        self.images = {
            group: torch.randn(shape.crops, size, 3, shape.size, shape.size, generator=generator).to(device)
            for group, shape in context.views.items()
        }
        self.columns = {
            "index": torch.arange(size, device=device),
            "epoch": torch.zeros(size, dtype=torch.int64, device=device),
            "weak": torch.arange(size, device=device) % 2 == 0,
        }
        self.learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @abstractmethod
    def step(self) -> float:
        """One step; the loss."""


class Ours(Side):
    """What `Loop.train_step` does."""

    def __init__(self, recipe: Recipe, context: Context, device: torch.device) -> None:
        super().__init__(recipe, context, device)
        options = recipe.optimizer
        self.optimizer = rules.make_optimizer(
            rules.parameter_groups(self.model, self.model.student, options), options, 1e-4
        )
        self.model.make_views = lambda batch: (self.images, {})  # type: ignore[method-assign]

    def step(self) -> float:
        """Forward, backward, queues, clip, optimizer, teacher."""
        batch: Any = type("Cut", (), {"columns": self.columns})
        loss = self.model(batch, Progress(0, self.context.steps, self.context.steps_per_epoch))
        loss.backward()
        self.model.after_step()
        rules.clip_gradients(self.learning, 3.0, "per_tensor")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        update_all(self.model, 0.996)
        return loss.item()


class Released(Side):
    """What the released code does, on the same modules."""

    def __init__(self, recipe: Recipe, context: Context, device: torch.device) -> None:
        super().__init__(recipe, context, device)
        self.instance, self.local_group, self.group = self.model.losses.values()
        self.optimizer = torch.optim.AdamW(self.learning, lr=1e-4)
        self.queues = [m.contrast.queue.rows.clone().T.contiguous() for m in (self.instance, self.local_group)]
        self.memories = {
            side: [getattr(self.local_group, f"{side}_memory").rows.clone() for _ in range(3)]
            for side in ("student", "teacher")
        }
        self.centre = torch.zeros_like(self.group.centre.mean)
        self.crops = sum(shape.crops for group, shape in context.views.items() if group != "teacher")

    def network(self, backbone: Backbone, groups: list[Tensor], side: str) -> tuple[Tensor, Tensor, Tensor]:
        """CLS tokens, group tokens and what is remembered, one forward a size."""
        relation: Any = getattr(self.local_group.relation, "online" if side == "student" else "target")
        copies = self.memories[side]
        cls, groups_of, stored = [], [], []
        for images in groups:
            features = backbone.features(images.flatten(0, 1))
            query = features.tokens.mean(1)
            with torch.no_grad():
                cosine = F.normalize(query, dim=-1) @ F.normalize(copies[0], dim=-1).T
                index = cosine.topk(self.local_group.options.neighbours, dim=-1).indices.view(-1)
            keys, _ = copies[1][index], copies[2][index]
            sequence = torch.cat((query.unsqueeze(1), keys.view(len(query), -1, keys.shape[-1])), dim=1)
            groups_of.append(backbone.last_norm(relation.block(sequence)[:, 0]))
            cls.append(features.normed[:, 0])
            stored.append(features.normed[:, 1:].mean(1))
        return torch.cat(cls), torch.cat(groups_of), stored[0]

    def info_nce(self, number: int, contrast: Any, student: Tensor, teacher: Tensor) -> Tensor:
        """A matrix of logits for each pair of crops."""
        preds = F.normalize(contrast.predictor(F.normalize(contrast.projector.online(student), dim=-1)), dim=-1)
        with torch.no_grad():
            targets = F.normalize(contrast.projector.target(teacher), dim=-1).chunk(2)
        queue = self.queues[number].clone()
        large, small = [], []
        for t, target in enumerate(targets):
            for p, pred in enumerate(preds.chunk(self.crops)):
                if t != p:
                    logits = torch.cat([(pred * target).sum(1, keepdim=True), pred @ queue], dim=1) / 0.2
                    labels = torch.zeros(len(logits), dtype=torch.long, device=self.device)
                    (large if p < 2 else small).append(F.cross_entropy(logits, labels))
            self.queues[number][:, : len(target)] = target.T
        return 0.5 * (torch.stack(large).mean() + torch.stack(small).mean())

    def clustering(self, student: Tensor, teacher: Tensor) -> Tensor:
        """A cross-entropy for each pair of crops."""
        student_out = (self.group.head.online(student) / 0.1).chunk(self.crops)
        with torch.no_grad():
            logits = self.group.head.target(teacher)
            teacher_out = F.softmax((logits - self.centre) / 0.04, dim=-1).chunk(2)
        large, small = [], []
        for t, share in enumerate(teacher_out):
            for s, out in enumerate(student_out):
                if t != s:
                    (large if s < 2 else small).append(torch.sum(-share * F.log_softmax(out, dim=-1), dim=-1).mean())
        self.centre = self.centre * 0.9 + logits.mean(0) * 0.1
        return 0.5 * (torch.stack(large).mean() + torch.stack(small).mean())

    def step(self) -> float:
        """Forward, backward, queues, clip, optimizer, teacher."""
        student = self.network(self.model.student, [self.images["global"], self.images["local"]], "student")
        with torch.no_grad():
            teacher = self.network(self.model.teacher, [self.images["teacher"]], "teacher")
        loss = (
            self.info_nce(0, self.instance.contrast, student[0], teacher[0])
            + self.info_nce(1, self.local_group.contrast, student[1], teacher[1])
            + self.clustering(student[0], teacher[0])
        ) / 3
        for side, rows in (("student", student[2].detach().chunk(2)[0]), ("teacher", teacher[2].chunk(2)[0])):
            for copy in self.memories[side]:
                copy[: len(rows)] = rows
        self.optimizer.zero_grad()
        loss.backward()
        self.clip()
        self.optimizer.step()
        self.follow()
        return loss.item()

    @torch.no_grad()
    def clip(self) -> None:
        """Tensor by tensor, a number at a time."""
        for parameter in self.learning:
            if parameter.grad is not None:
                factor = 3.0 / (parameter.grad.norm(2).item() + 1e-6)
                if factor < 1:
                    parameter.grad.mul_(factor)

    @torch.no_grad()
    def follow(self) -> None:
        """The teacher, tensor by tensor."""
        for module in self.model.modules():
            for target, online in module.pairs() if isinstance(module, Momentum) else ():
                target.mul_(0.996).add_(0.004 * online)


def make_sides(arguments: argparse.Namespace) -> dict[str, Side]:
    """Both sides on equal weights."""
    recipe = load_recipe(arguments.recipe, [f"train.batch_size={arguments.batch}", *arguments.set])
    context = context_of(recipe, samples=SAMPLES)
    device = torch.device(arguments.device)
    return {"sslcli": Ours(recipe, context, device), "released": Released(recipe, context, device)}


def measure(arguments: argparse.Namespace) -> dict[str, float | str]:
    """Seconds a step of both sides, and their ratio."""
    sides = make_sides(arguments)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for block in range(arguments.blocks + 1):
        for name, side in sides.items() if block % 2 else reversed(list(sides.items())):
            began = time.perf_counter()
            loss = side.step()
            if block:  # the first block warms up
                seconds[name].append(time.perf_counter() - began)
            else:
                print(f"{name}: first loss {loss:.6f}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "recipe": arguments.recipe,
        "batch": arguments.batch,
        "device": arguments.device,
        **{f"{name}_seconds": round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["sslcli"] / medians["released"], 4),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mugs/vit_small-imagenet-100ep")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    found = measure(arguments := parser.parse_args())
    if arguments.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
