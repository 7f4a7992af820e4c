"""A transformer over what acquisitions show of a cell: how much to believe each of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Answer", "PivotNetwork", "Question"]

_HEADS = 2
_NOTHING = 3.0  # logit at first of adding nothing: a network starts from the regression
_LEAST_LOG_SD, _MOST_LOG_SD = -7.0, 3.0
_USUAL_SPREAD = 0.15  # of a unit, that of a cell in the middle of a season
_RESIDUAL = 0.2  # of a unit


class Question(NamedTuple):
    """One variable on one day, of cells (N,); all in units of the variable."""

    tokens: Tensor  # (N, K, F) of the acquisitions near it
    absent: Tensor  # (N, K) bool
    offers: Tensor  # (N, K, P) by which each would move the mean of the regression
    innovations: Tensor  # (N, K, P) and that of a physical posterior; 0 without one
    context: Tensor  # (N, G) of the cell and the day
    regression: Tensor  # (N,)
    physical: Tensor  # (N, 2) mean and logarithm of the standard deviation; 0 without
    modelled: Tensor  # (N,) bool, whether there is a physical posterior


class Answer(NamedTuple):
    """Of cells (N,), in units of the variable."""

    mean: Tensor
    sd: Tensor


class PivotNetwork(nn.Module):
    """Weighted means of what acquisitions offer, on a regression and on a physical posterior.

    learned = regression + sum over acquisitions of weight * offer + a small residual, and
    modelled = physical + sum over acquisitions of weight * innovation; the mean is
    (1 - g) learned + g modelled, where g is told by cell and day and 0 without a posterior.

    Args:
        sizes: features of a token F and of a context G, offers and innovations of a token P.
        width: of what is attended to.
        layers: of attention.
    """

    def __init__(self, sizes: tuple[int, int, int, int], *, width: int, layers: int) -> None:
        super().__init__()
        token, context, offers, innovations = sizes
        self.token = nn.Linear(token, width)
        self.context = nn.Linear(context, width)
        layer = nn.TransformerEncoderLayer(
            width, _HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.attention = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.weigh = _from_zero(nn.Linear(width, offers + innovations))
        self.nothing = _from_zero(nn.Linear(width, offers + innovations))
        self.move = _from_zero(nn.Linear(width, 4))  # residual, log sd of both, blend
        self.alike = nn.Parameter(torch.zeros(()))  # logit of what errors of cells share

    def forward(self, question: Question) -> Answer:
        """What is predicted of each cell."""
        cell, tokens = self._attended(question)
        logits = self.weigh(tokens).masked_fill(question.absent[..., None], -torch.inf)
        nothing = self.nothing(cell)[:, None] + _NOTHING
        weights = torch.cat([nothing, logits], dim=1).softmax(dim=1)[:, 1:]
        offered = (weights * torch.cat([question.offers, question.innovations], -1)).sum(1)
        moved, corrected = offered.split(
            [question.offers.shape[-1], question.innovations.shape[-1]], dim=-1
        )
        residual, log_sd, factor, blend = self.move(cell).unbind(-1)
        learned = question.regression + moved.sum(-1) + _RESIDUAL * residual
        modelled = question.physical[:, 0] + corrected.sum(-1)
        share = blend.sigmoid() * question.modelled
        # The logarithm of a standard deviation is blended as the mean is, and then corrected.
        spread = (1 - share) * (log_sd + math.log(_USUAL_SPREAD)) + share * (
            question.physical[:, 1] + factor
        )
        mean = (1 - share) * learned + share * modelled
        return Answer(mean, spread.clamp(_LEAST_LOG_SD, _MOST_LOG_SD).exp())

    def _attended(self, question: Question) -> tuple[Tensor, Tensor]:
        """The cell (N, D) and its acquisitions (N, K, D), each knowing of the others."""
        cell = self.context(question.context)
        sequence = torch.cat([cell[:, None], self.token(question.tokens)], dim=1)
        absent = nn.functional.pad(question.absent, (1, 0))  # the cell itself is always there
        found = self.norm(self.attention(sequence, src_key_padding_mask=absent))
        return found[:, 0], found[:, 1:]

    @property
    def shared(self) -> Tensor:
        """Share of the variance that cells of a pixel are off by together."""
        return self.alike.sigmoid()


def _from_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
