import torch
import torch.nn.functional as F

from mer_zoo.functional.noise_resistance import (
    completeness_error,
    discriminator_loss,
    mix_dominant,
    text_completeness,
    token_error,
)


def test_completeness_is_one_less_the_share_of_missing_words() -> None:
    words = torch.tensor([[False, True, True, True, True, False], [True] * 6, [False] * 6])
    observed = torch.tensor([[True, True, False, True, True, True], [False] * 6, [True] * 6])
    torch.testing.assert_close(text_completeness(observed, words), torch.tensor([0.75, 0.0, 0.0]))


def test_mixing_follows_the_weight() -> None:
    text, proxy = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    mixed = mix_dominant(text, proxy, torch.tensor([[1.0], [0.0], [0.25]]))
    torch.testing.assert_close(mixed[0], text[0])
    torch.testing.assert_close(mixed[1], proxy[1])
    torch.testing.assert_close(mixed[2], 0.75 * proxy[2] + 0.25 * text[2])


def test_the_adversary_s_loss_is_the_cross_entropy_of_all_tokens() -> None:
    dominant, text = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    logits, classes = torch.cat([dominant, text]).flatten(0, 1), torch.tensor([1] * 12 + [0] * 12)
    torch.testing.assert_close(discriminator_loss(dominant, text).mean(), F.cross_entropy(logits, classes))


def test_errors_are_squares() -> None:
    w, truth = torch.rand(3, 1), torch.rand(3)
    torch.testing.assert_close(completeness_error(w, truth).mean(), F.mse_loss(w.squeeze(1), truth))
    restored, complete = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    torch.testing.assert_close(token_error(restored, complete).mean(), F.mse_loss(restored, complete))
