"""A transformer over what acquisitions show of a cell: how much to believe each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Answer", "PivotNetwork", "Question"]

_HEADS = 2
_NOTHING = 3.0  # logit at first of adding nothing: a network starts from the regression
_LEAST_LOG_SD, _MOST_LOG_SD = -5.0, 4.0
_RESIDUAL = 0.2  # of a unit


class Question(NamedTuple):
    """One variable on one day, of cells (N,); all in units of the variable."""

    tokens: Tensor  # (N, K, F) of the acquisitions near it
    absent: Tensor  # (N, K) bool
    offers: Tensor  # (N, K, P) by which each would move the mean
    context: Tensor  # (N, G) of the cell and the day
    start: Tensor  # (N, S) means to start from
    spread: Tensor  # (N,) standard deviation to start from


class Answer(NamedTuple):
    """Of cells (N,), in units of the variable."""

    mean: Tensor
    sd: Tensor


class PivotNetwork(nn.Module):
    """mean = sum of starts + sum over acquisitions of weight * offer + a small residual.

    Args:
        sizes: features of a token F and of a context G, offers P of a token, and starts S.
        width: of what is attended to.
        layers: of attention.
    """

    def __init__(self, sizes: tuple[int, int, int, int], *, width: int, layers: int) -> None:
        super().__init__()
        token, context, offers, starts = sizes
        self.token = nn.Linear(token, width)
        self.context = nn.Linear(context, width)
        layer = nn.TransformerEncoderLayer(
            width, _HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.attention = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.weigh = _from_zero(nn.Linear(width, offers))
        self.nothing = _from_zero(nn.Linear(width, offers))
        self.blend = _from_zero(nn.Linear(width, starts))
        self.move = _from_zero(nn.Linear(width, 2))  # residual, log sd
        self.alike = nn.Parameter(torch.zeros(()))  # logit of what errors of cells share

    def forward(self, question: Question) -> Answer:
        """What is predicted of each cell."""
        cell = self.context(question.context)
        sequence = torch.cat([cell[:, None], self.token(question.tokens)], dim=1)
        absent = nn.functional.pad(question.absent, (1, 0))  # the cell itself is always there
        found = self.norm(self.attention(sequence, src_key_padding_mask=absent))
        cell, tokens = found[:, 0], found[:, 1:]
        logits = self.weigh(tokens).masked_fill(question.absent[..., None], -torch.inf)
        nothing = self.nothing(cell)[:, None] + _NOTHING
        weights = torch.cat([nothing, logits], dim=1).softmax(dim=1)[:, 1:]
        start = (self.blend(cell).softmax(dim=1) * question.start).sum(1)
        residual, log_sd = self.move(cell).unbind(-1)
        mean = start + (weights * question.offers).sum((1, 2)) + _RESIDUAL * residual
        return Answer(mean, question.spread * log_sd.clamp(_LEAST_LOG_SD, _MOST_LOG_SD).exp())

    @property
    def shared(self) -> Tensor:
        """Share of the variance that cells of a pixel are off by together."""
        return self.alike.sigmoid()


def _from_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
