"""The plan of batches."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.data.sampler import BatchPlan
from sslcli.errors import UserError


def batches(plan: BatchPlan, first: int, last: int) -> list[list[tuple[int, int]]]:
    return list(plan.micro_batches(first, last))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 60), st.integers(0, 10**9))
def test_processes_and_accumulation_together_see_what_one_process_sees(world, accumulation, micro, extra, seed):
    size = world * accumulation * micro
    whole = batches(BatchPlan(size + extra, size, seed=seed), 0, 5)
    plans = [
        BatchPlan(size + extra, size, seed=seed, rank=r, world_size=world, accumulation=accumulation)
        for r in range(world)
    ]
    slices = [batches(plan, 0, 5) for plan in plans]
    for step, batch in enumerate(whole):
        parts = [slices[rank][step * accumulation + a] for a in range(accumulation) for rank in range(world)]
        assert [position for part in parts for position in part] == batch


def test_an_epoch_shows_each_sample_at_most_once_and_leaves_out_less_than_a_batch():
    plan = BatchPlan(23, 5, seed=0)
    seen = [index for batch in batches(plan, 0, plan.steps_per_epoch) for _, index in batch]
    assert plan.steps_per_epoch == 4
    assert len(seen) == len(set(seen)) == 20


def test_each_epoch_has_an_order_of_its_own():
    plan = BatchPlan(50, 5, seed=0)
    assert not (plan.order(0) == plan.order(1)).all()
    assert [epoch for batch in batches(plan, 8, 12) for epoch, _ in batch[:1]] == [0, 0, 1, 1]


def test_going_on_in_the_middle_equals_going_through():
    plan = BatchPlan(50, 6, seed=3, rank=1, world_size=2)
    assert batches(plan, 0, 30)[13:] == batches(plan, 13, 30)


def test_the_order_depends_on_the_seed_only():
    assert batches(BatchPlan(50, 5, seed=1), 0, 3) != batches(BatchPlan(50, 5, seed=2), 0, 3)
    assert BatchPlan(10, 2, seed=0).order(0).tolist() == BatchPlan(10, 5, seed=0).order(0).tolist()


def test_a_set_that_fills_no_batch_is_refused_with_the_size_that_would_do():
    with pytest.raises(UserError, match="has 10 pictures, fewer than") as caught:
        BatchPlan(10, 16, seed=0)
    assert "10 or less" in caught.value.hint


def test_a_batch_that_cannot_be_divided_is_refused_with_the_next_that_can():
    with pytest.raises(UserError, match="cannot be divided by 6") as caught:
        BatchPlan(100, 20, seed=0, world_size=3, accumulation=2)
    assert "24" in caught.value.hint


def test_memory_is_flat_for_more_than_a_million_samples():
    plan = BatchPlan(1_281_167, 4096, seed=0)
    tracemalloc.start()
    for _ in plan.micro_batches(plan.steps_per_epoch - 2, plan.steps_per_epoch + 2):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the orders of two epochs at the turn, 8 bytes a sample
