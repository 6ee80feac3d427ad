import pytest
import torch
import torch.distributed as dist

from sslcli.nn import (
    Centre,
    Queue,
    all_mean,
    gather,
    gather_with_gradient,
    info_nce,
    nt_xent,
    rank,
    sum_with_gradient,
    world,
)


def test_a_lone_process_is_rank_0_of_1():
    assert (rank(), world()) == (0, 1)


@pytest.fixture
def no_collectives(monkeypatch):
    """Collectives that fail when they are called."""

    def refuse(*_, **__):
        raise AssertionError("a collective was called")

    for name in ("all_gather", "all_reduce", "all_gather_into_tensor", "broadcast", "barrier"):
        monkeypatch.setattr(dist, name, refuse)


@pytest.fixture
def group_of_one():
    """A process group with nobody else in it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def everything_that_gathers():
    """What comes of losses, a queue and a centre on the same rows."""
    torch.manual_seed(0)
    queue, centre, rows = Queue(5, 3), Centre(3), torch.randn(4, 3)
    queue.push(rows, torch.arange(4), torch.tensor([True, False, True, True]))
    centre.update(rows)
    losses = torch.stack([info_nce(rows, rows, 0.2, negatives=queue.rows), nt_xent(torch.stack([rows, rows]), 0.2)])
    return losses, *queue.state_dict().values(), centre.mean


@pytest.mark.usefixtures("no_collectives")
def test_a_lone_process_calls_no_collective():
    rows = torch.randn(4, 3, requires_grad=True)
    for function in (gather, gather_with_gradient, sum_with_gradient, all_mean):
        assert torch.equal(function(rows), rows)
    (info_nce(rows, rows, 0.2) + nt_xent(torch.stack([rows, rows]), 0.2)).backward()
    everything_that_gathers()


@pytest.mark.usefixtures("no_collectives")
def test_a_process_group_of_one_changes_no_number(request):
    without = everything_that_gathers()
    request.getfixturevalue("group_of_one")
    assert dist.is_initialized()
    assert all(map(torch.equal, everything_that_gathers(), without))


def test_gathered_rows_carry_no_gradient():
    assert not gather(torch.randn(2, 3, requires_grad=True)).requires_grad


def test_rows_gathered_with_gradient_carry_one():
    assert gather_with_gradient(torch.randn(2, 3, requires_grad=True)).requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gather", "flags", "strided", "mean"])
def test_two_ranks_gather_the_batch_in_rank_order(ranks, name):
    ranks.agree(name)


@pytest.mark.slow
def test_the_gradient_through_a_gather_is_that_of_the_whole_batch(ranks):
    ranks.agree("gathered")
