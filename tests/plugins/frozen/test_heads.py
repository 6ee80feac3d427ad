"""Many heads in one tensor learn what each would learn alone."""

import pytest
import torch
from sslcli_frozen.evaluations.heads import Head, Stack, beginning
from sslcli_frozen.evaluations.sight import OWN, Layout
from torch import nn
from torch.nn.functional import cross_entropy

from sslcli.training.lars import Lars

LAYOUT = Layout(1, OWN)
SETTINGS = [(0.5, 0.0), (0.1, 0.01), (0.02, 0.1)]  # rate, decay


def stack_of(optimizer, norm=False, start="torch"):
    heads = [Head(LAYOUT, optimizer, lr, decay) for lr, decay in SETTINGS]
    return Stack(heads, 8, 4, start=start, seed=1, norm=norm)


def alone(stack, number):
    linear = nn.Linear(8, 4)
    linear.weight.data, linear.bias.data = stack.weight.data[:, number].T.clone(), stack.bias.data[number].clone()
    return linear


def sgd(linear, lr, decay, nesterov):
    return torch.optim.SGD(linear.parameters(), lr=lr, momentum=0.9, weight_decay=decay, nesterov=nesterov)


def lars(linear, lr, decay, nesterov):
    groups = [{"params": [linear.weight], "weight_decay": decay}, {"params": [linear.bias], "adapt": False}]
    return Lars(groups, lr=lr, momentum=0.9)


@pytest.mark.parametrize(("name", "make", "nesterov"), [("sgd", sgd, False), ("sgd", sgd, True), ("lars", lars, False)])
def test_a_stack_learns_what_each_head_learns_alone(clouds, name, make, nesterov):
    features, labels = clouds(40, 0)
    stack = stack_of(name)
    linears = [alone(stack, number) for number in range(3)]
    optimizers = [make(linear, *setting, nesterov) for linear, setting in zip(linears, SETTINGS)]
    for _ in range(5):
        stack.loss(features, labels).backward()
        stack.move(torch.tensor([lr for lr, _ in SETTINGS]), momentum=0.9, nesterov=nesterov)
        for linear, optimizer in zip(linears, optimizers):
            optimizer.zero_grad()
            cross_entropy(linear(features), labels).backward()
            optimizer.step()
    for number, linear in enumerate(linears):
        torch.testing.assert_close(stack.weight[:, number].T, linear.weight)
        torch.testing.assert_close(stack.bias[number], linear.bias)


def test_a_head_that_diverges_takes_no_other_along(clouds):
    features, labels = clouds(40, 0)
    stack = stack_of("sgd")
    for _ in range(4):
        stack.loss(features, labels).backward()
        stack.move(torch.tensor([float("inf"), 0.1, 0.1]), momentum=0.9, nesterov=False)
    assert not stack.weight[:, 0].isfinite().all()
    assert stack.weight[:, 1:].isfinite().all()


def test_batch_norm_learns_nothing_but_keeps_averages_for_the_test(clouds):
    features, _ = clouds(40, 0)
    stack = stack_of("sgd", norm=True)
    assert {name for name, _ in stack.named_parameters()} == {"weight", "bias"}
    normed = (features - features.mean(dim=0)) / (features.var(dim=0, unbiased=False) + 1e-6).sqrt()
    torch.testing.assert_close(stack(features)[:, 0], normed @ stack.weight[:, 0] + stack.bias[0])
    torch.testing.assert_close(stack.norm.running_mean, 0.1 * features.mean(dim=0))


def test_weights_begin_small_and_normal_or_as_those_of_pytorch():
    normal, biases = beginning(400, 100, "normal", 0)
    assert normal.std().item() == pytest.approx(0.01, rel=0.02)
    assert biases.abs().max() == 0
    uniform, biases = beginning(400, 100, "torch", 0)
    assert 0.049 < uniform.abs().max().item() <= 0.05  # 1 / sqrt(400)
    assert 0.04 < biases.abs().max().item() <= 0.05
