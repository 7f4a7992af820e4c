"""Temporal attention over the pivot: a small network that knows how sure each date is.

After L-TAE (Garnot and Landrieu 2020, Lightweight temporal self-attention for classifying satellite
image time series, arXiv:2007.00586): each head has one learned query, looks at its own channels,
and gives one weighted mean of the dates. Here a date is a token of means, standard deviations and
validities, and a head weighs it by its validity before it looks at what it says.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from geoseg.errors import ModelError
from geoseg.files import write_json
from geoseg.models import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from geoseg.landcover.cells import CellYears

__all__ = [
    "AttentionSpec",
    "TemporalAttention",
    "load_attention",
    "save_attention",
]

_LONGEST_DAYS = 1000.0  # of the slowest wave that tells days apart, as in L-TAE
_LEAST_VALIDITY = 1e-3  # what a date counts that nothing measured


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpec:
    """All that the network is built again from."""

    variables: tuple[str, ...]
    centre: tuple[float, ...]  # by variable: what is taken off a mean
    scale: tuple[float, ...]  # by variable: what means and deviations are divided by
    classes: tuple[str, ...]
    width: int = 64
    heads: int = 8
    key: int = 8

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise ModelError(
                f"A width of {self.width} does not part among {self.heads} heads; give an even "
                "multiple of them."
            )

    @classmethod
    def fitting(cls, years: CellYears, classes: tuple[str, ...], *, width: int) -> AttentionSpec:
        """Of a network for cells like these."""
        flat = years.mean.flatten(0, 1)
        return cls(
            variables=years.variables,
            centre=tuple(flat.mean(0).tolist()),
            scale=tuple(flat.std(0).clamp(min=1e-6).tolist()),
            classes=classes,
            width=width,
        )


class TemporalAttention(nn.Module):
    """Logits (N, K) of the classes of N cells."""

    centre: Tensor
    scale: Tensor

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        self.spec = spec
        count = len(spec.variables)
        self.register_buffer("centre", torch.tensor(spec.centre), persistent=False)
        self.register_buffer("scale", torch.tensor(spec.scale), persistent=False)
        self.token = nn.Sequential(nn.Linear(3 * count, spec.width), nn.LayerNorm(spec.width))
        self.keys = nn.Linear(spec.width, spec.heads * spec.key)
        self.query = nn.Parameter(torch.randn(spec.heads, spec.key) * math.sqrt(2 / spec.key))
        self.trust = nn.Parameter(torch.zeros(spec.heads))
        self.decode = nn.Sequential(
            nn.Linear(spec.width, 2 * spec.width),
            nn.LayerNorm(2 * spec.width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(2 * spec.width, len(spec.classes)),
        )

    def forward(self, mean: Tensor, sd: Tensor, validity: Tensor, day_of_year: Tensor) -> Tensor:
        """Logits (N, K).

        Args:
            mean: (N, D, V) in the units of the pivot.
            sd: (N, D, V).
            validity: (N, D, V).
            day_of_year: (D,).
        """
        weights, tokens = self._attend(mean, sd, validity, day_of_year)
        cells, dates, _ = mean.shape
        channels = tokens.view(cells, dates, self.spec.heads, -1)
        seen = torch.einsum("nhd,ndhc->nhc", weights, channels).flatten(1)
        logits: Tensor = self.decode(seen)
        return logits

    def weights(self, mean: Tensor, sd: Tensor, validity: Tensor, day_of_year: Tensor) -> Tensor:
        """Share (N, heads, D) of each date in what a head sees; arguments as of `forward`."""
        return self._attend(mean, sd, validity, day_of_year)[0]

    def _attend(
        self, mean: Tensor, sd: Tensor, validity: Tensor, day_of_year: Tensor
    ) -> tuple[Tensor, Tensor]:
        told = torch.cat([(mean - self.centre) / self.scale, sd / self.scale, validity], dim=-1)
        tokens = self.token(told) + _waves(day_of_year, self.spec.width)
        keys = self.keys(tokens).unflatten(-1, (self.spec.heads, self.spec.key))
        likeness = torch.einsum("ndhk,hk->nhd", keys, self.query) / math.sqrt(self.spec.key)
        # Before it has learned anything, a head weighs dates by their validity.
        sure = validity.mean(dim=-1).clamp(min=_LEAST_VALIDITY).log()[:, None]
        trust = nn.functional.softplus(self.trust + math.log(math.e - 1))[:, None]
        return (likeness + trust * sure).softmax(dim=-1), tokens


def save_attention(path: Path, network: TemporalAttention, record: Mapping[str, Any]) -> None:
    """Write a network as one safetensors file, whose header says how to build it again.

    The header is written beside it as JSON too, to be read by people.
    """
    header = {"land_cover": asdict(network.spec), "record": dict(record)}
    write_tensors(path, network.state_dict(), header)
    write_json(path.with_suffix(".json"), header)


def load_attention(path: Path) -> tuple[TemporalAttention, dict[str, Any]]:
    """A network that is ready to predict, and what was recorded of its making.

    Raises:
        ModelError: no such file, or it holds no such network.
    """
    tensors, header = read_tensors(path)
    try:
        fields = header["land_cover"]
        listed: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()
        }
        network = TemporalAttention(AttentionSpec(**listed))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{path} holds no network of land cover ({type(error).__name__}); train one with "
            "`geoseg pivot-landcover train`."
        ) from error
    return network.eval(), dict(header.get("record", {}))


def _waves(day_of_year: Tensor, width: int) -> Tensor:
    """Sines and cosines (D, width) of days, from one to a thousand days long."""
    rates = _LONGEST_DAYS ** (-torch.arange(0, width, 2, device=day_of_year.device) / width)
    phase = day_of_year[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
