"""The three losses against the step of the released code, written out here in its own order, pair by pair.

Nothing of `sslcli.nn` is used on the other side: search, queues (columns are keys), memories in three copies with their
pointers, centre and totals are plain loops over the equations (Mugs, arXiv:2203.14415).
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sslcli_mugs.group import GroupDiscrimination
from sslcli_mugs.instance import InstanceDiscrimination
from sslcli_mugs.local_group import LocalGroupDiscrimination
from sslcli_mugs.options import GroupOptions, InstanceOptions, LocalGroupOptions

from sslcli.api import ViewShape
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

VIEWS = {"teacher": ViewShape(2, 16), "global": ViewShape(2, 16), "local": ViewShape(3, 8)}
CROPS = {"teacher_views": "teacher", "local_views": "local"}
HEADS = {"hidden": 24, "output": 8, "predictor_hidden": 16, "queue": 20}
QUEUE, MEMORY, NEIGHBOURS, PROTOTYPES = 20, 11, 3, 13
FLAGS = torch.tensor([True, False, True, True, False, True])


class Released:
    """The released code's state and step, on the weights of our losses."""

    def __init__(self, instance, local_group, group, *, legacy):
        self.instance, self.local_group, self.group, self.legacy = instance, local_group, group, legacy
        self.queues = [contrast.queue.rows.clone().T for contrast in (instance.contrast, local_group.contrast)]
        self.pointers = [0, 0]
        self.memories = {
            "student": [local_group.student_memory.rows.clone() for _ in range(3)],
            "teacher": [local_group.teacher_memory.rows.clone() for _ in range(3)],
        }
        self.memory_pointers = {"student": 0, "teacher": 0}
        self.centre = torch.zeros(1, PROTOTYPES)

    def forward(self, vit, images, side):
        """Last-norm tokens, group tokens and mean patch tokens of the large images, for one list of equal images."""
        block = self.local_group.relation.online if side == "student" else self.local_group.relation.target
        x = vit.embed(images)
        x = torch.cat([vit.model.cls_token.expand(len(x), -1, -1) + vit.model.pos_embed[:, :1], x], dim=1)
        for layer in vit.model.blocks:
            x = layer(x)
        query, search = x.mean(1), self.memories[side][0]
        cosine = F.normalize(query.detach(), dim=-1) @ F.normalize(search, dim=-1).T
        index = cosine.topk(NEIGHBOURS, dim=-1).indices
        keys = self.memories[side][1][index.view(-1)].view(len(query), NEIGHBOURS, -1)
        relation = block.block(torch.cat((query.unsqueeze(1), keys), dim=1))
        z = vit.model.norm(x)
        return z[:, 0], vit.model.norm(relation[:, 0]), z[:, 1:].mean(1)

    def network(self, vit, groups, side):
        """CLS, group tokens and stored features, crop-major, small crops after large ones."""
        parts = [self.forward(vit, images.flatten(0, 1), side) for images in groups]
        cls, relation, _ = (torch.cat(tensors) for tensors in zip(*parts))
        return cls, relation, parts[0][2]

    def info_nce(self, number, contrast, student, teacher, crops):
        """One of the two contrasts, with its queue's update."""
        head, predictor = contrast.projector, contrast.predictor
        preds = F.normalize(predictor(F.normalize(head.online(student), dim=-1)), dim=-1).chunk(crops)
        targets = F.normalize(head.target(teacher), dim=-1).detach().chunk(2)
        queue = self.queues[number].clone()
        large, small = [], []
        for t, target in enumerate(targets):
            for p, pred in enumerate(preds):
                if t == p:
                    continue
                positive = (pred * target).sum(1, keepdim=True)
                logits = torch.cat([positive, pred @ queue], dim=1) / 0.2
                loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
                (large if p < 2 else small).append(loss)
            for key in target:
                self.queues[number][:, self.pointers[number]] = key
                self.pointers[number] = (self.pointers[number] + 1) % QUEUE
        return 0.5 * (sum(large) / len(large) + sum(small) / len(small))

    def clustering(self, student, teacher, crops, temperature):
        """The group loss, with its centre's update."""
        student_out = (self.group.head.online(student) / 0.1).chunk(crops)
        logits = self.group.head.target(teacher).detach()
        teacher_out = F.softmax((logits - self.centre) / temperature, dim=-1).chunk(2)
        large, small = [], []
        for t, q in enumerate(teacher_out):
            for v in range(crops):
                if v != t:
                    loss = torch.sum(-q * F.log_softmax(student_out[v], dim=-1), dim=-1).mean()
                    (large if v < 2 else small).append(loss)
        self.centre = self.centre * 0.9 + logits.mean(0, keepdim=True) * 0.1
        return 0.5 * (sum(large) / len(large) + sum(small) / len(small))

    def remember(self, side, rows):
        """The memory's update; the released pointer moves twice where nothing wraps."""
        pointer = self.memory_pointers[side]
        wraps = pointer + len(rows) > MEMORY
        for copy in self.memories[side]:
            for offset, row in enumerate(rows):
                copy[(pointer + offset) % MEMORY] = row
        moved = len(rows) if wraps or not self.legacy else 2 * len(rows)
        self.memory_pointers[side] = (pointer + moved) % MEMORY

    def step(self, step):
        """Instance, local-group and group loss of one step."""
        student = self.network(step.backbone, [step.images("global"), step.images("local")], "student")
        with torch.no_grad():
            teacher = self.network(step.teacher_backbone, [step.images("teacher")], "teacher")
        losses = (
            self.info_nce(0, self.instance.contrast, student[0], teacher[0], 5),
            self.info_nce(1, self.local_group.contrast, student[1], teacher[1], 5),
            self.clustering(student[0], teacher[0], 5, 0.04),
        )
        self.remember("student", student[2].detach().chunk(2)[0][FLAGS])
        self.remember("teacher", teacher[2].chunk(2)[0])
        return losses


def build(*, legacy):
    """A backbone and our three losses, teachers a little away from their students."""
    backbone = make_backbone(make_context(VIEWS))
    context = replace(with_backbone(make_context(VIEWS), backbone), samples=1000)
    torch.manual_seed(7)
    losses = (
        InstanceDiscrimination(InstanceOptions(**CROPS, **HEADS), context),
        LocalGroupDiscrimination(
            LocalGroupOptions(
                **CROPS, **HEADS, memory=MEMORY, neighbours=NEIGHBOURS, memory_column="weak", legacy=legacy
            ),
            context,
        ),
        GroupDiscrimination(GroupOptions(**CROPS, prototypes=PROTOTYPES, hidden=24, bottleneck=8), context),
    )
    with torch.no_grad():
        for name, parameter in (pair for loss in losses for pair in loss.named_parameters()):
            if ".target." in name:
                parameter.add_(0.01 * torch.randn_like(parameter))
    return backbone, losses


def steps_of(backbone, count):
    """Steps on other images each, their teacher's backbone away from the student's."""
    for number in range(count):
        step = make_step(VIEWS, backbone=backbone, columns={"weak": FLAGS}, seed=number)
        with torch.no_grad():
            for parameter in step.teacher_backbone.parameters():
                parameter.add_(0.02)
        yield step


@pytest.mark.parametrize("legacy", [False, True])
def test_losses_queues_memories_and_centre_of_five_steps_are_those_of_the_released_code(legacy):
    backbone, losses = build(legacy=legacy)
    released = Released(*losses, legacy=legacy)
    for step in steps_of(backbone, 5):
        ours = [scoped(step, loss) for loss in losses]
        theirs = released.step(step)
        torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=1e-6, atol=1e-6)
        for loss in losses:
            step.scope = type(loss).__name__
            loss.after_step(step)
    instance, local_group, group = losses
    for number, contrast in enumerate((instance.contrast, local_group.contrast)):
        torch.testing.assert_close(contrast.queue.rows.T, released.queues[number])
        assert int(contrast.queue.place) == released.pointers[number]
    for side, memory in (("student", local_group.student_memory), ("teacher", local_group.teacher_memory)):
        torch.testing.assert_close(memory.rows, released.memories[side][1])
        assert int(memory.place) == released.memory_pointers[side]
    torch.testing.assert_close(group.centre.mean, released.centre[0])


def test_gradients_are_those_of_the_released_code():
    backbone, losses = build(legacy=False)
    released = Released(*losses, legacy=False)
    (step,) = steps_of(backbone, 1)
    learning = {
        name: parameter
        for module in (backbone, *losses)
        for name, parameter in module.named_parameters(type(module).__name__)
        if parameter.requires_grad
    }
    ours = torch.autograd.grad(sum(scoped(step, loss) for loss in losses) / 3, list(learning.values()))
    theirs = torch.autograd.grad(sum(released.step(step)) / 3, list(learning.values()))
    for name, mine, reference in zip(learning, ours, theirs):
        torch.testing.assert_close(
            mine, reference, rtol=1e-4, atol=1e-6 * reference.abs().max().item() + 1e-8, msg=name
        )


def scoped(step, loss):
    """A loss under its own name, as the engine calls it."""
    step.scope = type(loss).__name__
    return loss(step)
