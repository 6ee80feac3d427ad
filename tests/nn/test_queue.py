from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslcli.errors import UserError
from sslcli.nn import Queue, queue_size

WIDTH = 3


def numbered(first, count):
    """Rows that say their number, and their owners, who say the same."""
    numbers = torch.arange(first, first + count)
    return numbers[:, None].float().expand(count, WIDTH), numbers


def in_order_of_arrival(queue):
    """Owners from the oldest row to the youngest; noise counts as oldest."""
    return queue.owners.roll(-int(queue.place)).tolist()


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


@given(size=st.integers(1, 9), sizes=st.lists(st.integers(0, 25), max_size=8))
def test_it_holds_the_last_rows_in_order_of_arrival_whatever_the_sizes_pushed(size, sizes):
    queue, expected = Queue(size, WIDTH), deque([-1] * size, maxlen=size)
    noise, first = queue.rows.clone(), 0
    for count in sizes:
        rows, owners = numbered(first, count)
        assert queue.push(rows, owners) == count
        expected.extend(owners.tolist())
        first += count
    assert in_order_of_arrival(queue) == list(expected)
    brought = queue.owners >= 0
    assert torch.equal(queue.rows[brought], queue.owners[brought, None].float().expand(-1, WIDTH))
    assert torch.equal(queue.rows[~brought], noise[~brought])


@given(size=st.integers(1, 9), pushes=st.lists(st.lists(st.booleans(), max_size=20), max_size=6))
def test_of_masked_rows_it_takes_the_true_ones_in_their_order(size, pushes):
    queue, expected = Queue(size, WIDTH), deque([-1] * size, maxlen=size)
    for step, keep in enumerate(pushes):
        rows, owners = numbered(100 * step, len(keep))
        assert queue.push(rows, owners, torch.tensor(keep, dtype=torch.bool)) == sum(keep)
        expected.extend(owner for owner, kept in zip(owners.tolist(), keep) if kept)
    assert in_order_of_arrival(queue) == list(expected)
    brought = queue.owners >= 0
    assert torch.equal(queue.rows[brought, 0], queue.owners[brought].float())


def test_places_are_filled_from_the_first_and_a_batch_across_the_end_is_split():
    queue = Queue(5, WIDTH)
    queue.push(*numbered(0, 3))
    assert queue.owners.tolist() == [0, 1, 2, -1, -1]
    queue.push(*numbered(3, 4))
    assert queue.owners.tolist() == [5, 6, 2, 3, 4]
    assert int(queue.place) == 2


def test_a_batch_longer_than_the_queue_leaves_its_last_rows_where_single_pushes_would():
    at_once, one_by_one = Queue(4, WIDTH), Queue(4, WIDTH)
    at_once.push(*numbered(0, 11))
    for number in range(11):
        one_by_one.push(*numbered(number, 1))
    assert torch.equal(at_once.rows, one_by_one.rows)
    assert torch.equal(at_once.owners, one_by_one.owners)
    assert torch.equal(at_once.place, one_by_one.place)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_a_mask_may_be_a_column_of_any_type(dtype):
    queue = Queue(4, WIDTH)
    queue.push(*numbered(0, 3), keep=torch.tensor([1, 0, 1]).to(dtype))
    assert queue.owners.tolist() == [0, 2, -1, -1]


def test_when_no_row_is_kept_nothing_changes():
    queue = Queue(4, WIDTH)
    queue.push(*numbered(0, 3))
    before = {name: tensor.clone() for name, tensor in queue.state_dict().items()}
    queue.push(*numbered(3, 2), keep=torch.zeros(2, dtype=torch.bool))
    assert all(torch.equal(tensor, before[name]) for name, tensor in queue.state_dict().items())


def test_the_place_can_be_moved_on_without_writing():
    queue = Queue(8, WIDTH)
    for step in range(9):
        queue.advance(queue.push(*numbered(2 * step, 2)))
    assert queue.filled == 0.5  # what the pointer of the released code of Mugs does
    assert (queue.owners >= 0).tolist() == [True, True, False, False] * 2


def test_the_share_that_is_filled_grows_to_one():
    queue = Queue(8, WIDTH)
    shares = []
    for step in range(6):
        shares.append(queue.filled.item())
        queue.push(*numbered(2 * step, 2))
    assert shares == [0, 0.25, 0.5, 0.75, 1, 1]


def test_it_starts_with_normal_noise_of_length_root_d_or_one():
    noise = Queue(2000, 384).rows
    assert noise.norm(dim=1).mean().item() == pytest.approx(19.6, abs=0.1)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(Queue(9, WIDTH, unit=True).rows.norm(dim=1), torch.ones(9))


def test_what_is_pushed_carries_no_gradient_and_nothing_of_it_learns():
    queue = Queue(4, WIDTH)
    rows = torch.randn(2, WIDTH, requires_grad=True)
    queue.push(rows * 2, torch.arange(2))
    assert not queue.rows.requires_grad
    assert list(queue.parameters()) == []


def test_half_precision_is_widened_when_it_comes_in():
    queue = Queue(4, WIDTH)
    rows = torch.randn(2, WIDTH).bfloat16()
    queue.push(rows, torch.arange(2))
    assert queue.rows.dtype == torch.float32
    assert torch.equal(queue.rows[:2], rows.float())


def test_a_restored_queue_goes_on_exactly():
    queue, restored = Queue(5, WIDTH), Queue(5, WIDTH)
    queue.push(*numbered(0, 7))
    restored.load_state_dict(queue.state_dict())
    for one in (queue, restored):
        one.push(*numbered(7, 4), keep=torch.tensor([1, 0, 1, 1]))
    assert all(torch.equal(a, b) for a, b in zip(queue.state_dict().values(), restored.state_dict().values()))
    assert in_order_of_arrival(restored) == [5, 6, 7, 9, 10]


def test_a_push_never_waits_for_the_device():
    queue = Queue(4, WIDTH).to("meta")  # where a number that the host asks for is an error
    rows, owners = (tensor.to("meta") for tensor in numbered(0, 7))
    queue.push(rows, owners, keep=torch.ones(7, device="meta"))
    queue.advance(queue.push(rows[:2], owners[:2]))


@pytest.mark.parametrize("shape", [(), (4,), (2, 4)])
def test_the_nearest_rows_are_those_of_a_plain_search(shape):
    queue = Queue(12, WIDTH)
    queries = torch.randn(*shape, WIDTH)
    found = queue.nearest(queries, 5)
    assert found.shape == (*shape, 5)
    for query, places in zip(queries.view(-1, WIDTH), found.view(-1, 5)):
        by_hand = sorted(range(12), key=lambda place, q=query: -cosine(q, queue.rows[place]))
        assert places.tolist() == by_hand[:5]


def test_a_row_in_the_direction_of_the_query_comes_first():
    queue, queries = Queue(40, 16), torch.randn(4, 16)
    queue.push(queries * torch.tensor([[0.01], [1.0], [3.0], [500.0]]), torch.arange(4))
    assert queue.nearest(queries, 3)[:, 0].tolist() == [0, 1, 2, 3]


def test_the_length_of_a_row_does_not_matter_and_stays():
    queue, queries = Queue(20, 8), torch.randn(3, 8)
    before = queue.nearest(queries, 6)
    queue.rows *= torch.rand(20, 1) * 10 + 0.01
    rows = queue.rows.clone()
    assert torch.equal(queue.nearest(queries, 6), before)
    assert torch.equal(queue.rows, rows)


def test_a_row_without_length_is_like_no_query():
    queue = Queue(3, 2)
    queue.push(torch.tensor([[0.0, 0], [1, 0], [-1, 0]]), torch.arange(3))
    assert queue.nearest(torch.tensor([1.0, 0]), 3).tolist() == [1, 0, 2]


def test_neighbours_are_sought_in_full_precision_inside_autocast():
    queue, queries = Queue(500, 8), torch.randn(20, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = queue.nearest(queries, 4)
    assert torch.equal(inside, queue.nearest(queries, 4))


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(RuntimeError):
        Queue(4, WIDTH).nearest(torch.randn(2, WIDTH), 5)


@pytest.mark.parametrize(
    ("samples", "least", "size"),
    [(1_281_167, 2048, 65_536), (131_072, 512, 65_536), (100_000, 512, 32_768), (2500, 256, 1024), (1500, 1024, 1024)],
)
def test_auto_is_65536_or_a_power_of_two_within_half_of_the_data(samples, least, size):
    assert queue_size("auto", least=least, samples=samples, what="queue") == size


def test_a_size_that_fits_is_taken_as_it_is():
    assert queue_size(4000, least=512, samples=4000, what="queue") == 4000
    assert queue_size(512, least=512, samples=4000, what="queue") == 512


def test_a_queue_smaller_than_what_a_step_brings_is_refused():
    with pytest.raises(UserError, match="queue = 500 is smaller than what one step brings, 512 rows") as refused:
        queue_size(500, least=512, samples=10_000, what="queue")
    assert refused.value.hint == "set it to 2048"


def test_a_queue_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="memory = 9000 is larger than the data, 5000 pictures") as refused:
        queue_size(9000, least=512, samples=5000, what="memory")
    assert refused.value.hint == "set it to 2048, or leave it out"


@pytest.mark.parametrize("size", ["auto", 300, 3000])
def test_where_no_size_fits_the_batch_is_said_to_be_too_large(size):
    with pytest.raises(UserError) as refused:
        queue_size(size, least=512, samples=400, what="queue")
    assert refused.value.hint.startswith("lower train.batch_size")


@given(size=st.integers(1, 500), least=st.integers(1, 300), samples=st.integers(1, 300))
def test_the_size_that_is_advised_is_accepted(size, least, samples):
    try:
        queue_size(size, least=least, samples=samples, what="queue")
    except UserError as error:
        advice = error.hint.removeprefix("set it to ").partition(",")[0]
        assert advice.isdigit() == (least <= samples)
        if advice.isdigit():
            assert queue_size(int(advice), least=least, samples=samples, what="queue") == int(advice)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["queue.plain", "queue.crops", "queue.kept"])
def test_two_ranks_hold_the_rows_of_one_in_rank_order(ranks, name):
    ranks.agree(name)


@pytest.mark.slow
def test_two_ranks_train_moco_v3_with_a_queue_as_one_does(ranks):
    ranks.agree("moco_v3")
