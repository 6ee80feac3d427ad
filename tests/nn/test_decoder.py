import pytest
import torch

from sslcli.nn.decoder import MaskedDecoder


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return MaskedDecoder(8, 12, grid=(2, 3), prefix=1, decoder_width=16, depth=2, heads=4)


def restore(batch, patches=6):
    return torch.arange(patches).repeat(batch, 1)


def test_the_decoder_of_vit_base_has_its_published_size():
    decoder = MaskedDecoder(768, 768, grid=(14, 14), prefix=1)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 26_109_184
    assert sum(p.numel() for p in decoder.parameters() if not p.requires_grad) == 197 * 512


def test_every_patch_is_predicted_and_the_prefix_is_not(decoder):
    assert decoder(torch.randn(2, 1 + 2, 8), restore(2)).shape == (2, 6, 12)


def test_the_order_in_which_patches_were_seen_does_not_matter(decoder):
    tokens, order = torch.randn(1, 4, 8), torch.tensor([[4, 0, 5, 3, 1, 2]])
    swapped_tokens = tokens[:, [0, 2, 1, 3]]
    swapped = order.argsort(1)[:, [1, 0, 2, 3, 4, 5]].argsort(1)
    torch.testing.assert_close(decoder(swapped_tokens, swapped), decoder(tokens, order))


def test_hidden_patches_differ_by_their_positions_alone(decoder):
    torch.nn.init.zeros_(decoder.positions)
    predicted = decoder(torch.randn(1, 3, 8), restore(1))
    torch.testing.assert_close(predicted[:, 2], predicted[:, 5])


def test_the_mask_token_learns_and_the_positions_do_not(decoder):
    decoder(torch.randn(2, 3, 8), restore(2)).sum().backward()
    assert decoder.mask_token.grad.abs().sum() > 0
    assert decoder.positions.grad is None


def test_weights_start_xavier_and_biases_at_zero(decoder):
    bound = (6 / (16 + 48)) ** 0.5
    weight = decoder.blocks[0].attn.qkv.weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not decoder.predict.bias.any()


def test_it_works_under_autocast(decoder):
    with torch.autocast("cpu", torch.bfloat16):
        predicted = decoder(torch.randn(2, 3, 8), restore(2))
    assert predicted.isfinite().all()
