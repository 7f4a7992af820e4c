"""From the logits of a model to probabilities that mean what they say, at any prevalence.

A model trained on as many chips with as without is sure of far too much where one chip in ten
thousand holds something. What carries over is the likelihood ratio of a logit, how much more often
chips with give it than chips without; the prior is put in afterwards (Saerens, Latinne and
Decaestecker 2002, Adjusting the outputs of a classifier to new a priori probabilities). That holds
while chips of each kind look as the held-out ones do and only their shares change: label shift.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import expit, logit

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.metrics.logistic import fit_line, log_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # what is fitted on, what is held out

__all__ = ["Calibration", "Curve", "Form", "fit_calibration", "shift_prior"]

Form = Literal["platt", "temperature", "isotonic"]

_FOLDS = 5
# Simulated: on 200 of each kind isotonic regression costs 0.005 nats more than Platt's form where
# that is true, and gains 0.001 to 0.011 where it is not; on 50 it costs 0.009 and gains little.
_LEAST_FOR_ISOTONIC = 200
# The intercept then has a standard error of 0.2 in log odds (1/50 + 1/50, under the root), less
# than sensors are seen to differ by.
_LEAST_FOR_SENSOR = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A strictly rising map from logits to log odds, among chips of one share of positives."""

    how: Form
    slope: float  # of platt and temperature; of isotonic beyond its knots
    intercept: float
    prior: float  # share of positives among the chips that it was fitted on
    positives: int
    negatives: int
    logits: tuple[float, ...] = ()  # knots of isotonic, rising
    log_odds: tuple[float, ...] = ()  # at the knots, rising

    def log_ratio(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Log likelihood ratios of logits of any shape: log odds less those of the prior."""
        z = np.asarray(logits, dtype=np.float64)
        return np.asarray(self._log_odds(z) - logit(self.prior))

    def _log_odds(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.logits:
            return self.slope * z + self.intercept
        inside = np.interp(z, self.logits, self.log_odds)
        beyond = z - np.clip(z, self.logits[0], self.logits[-1])
        return inside + self.slope * beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibrated probabilities of presence from the logits of one model.

    A sensor with a curve of its own gets its likelihood ratios from it, and the prior that all
    sensors share: which sensor saw a place says nothing about what the place holds.
    """

    pooled: Curve
    sensors: Mapping[str, Curve]  # those that differ from the pooled one for certain
    losses: Mapping[Form, float]  # cross-validated log loss, nats, of each form that was tried

    @property
    def how(self) -> Form:
        """The form of the pooled curve."""
        return self.pooled.how

    @property
    def prior(self) -> float:
        """Share of positives in the calibration set."""
        return self.pooled.prior

    def probability(
        self,
        logits: ArrayLike,
        sensor_ids: Sequence[str | None] | NDArray[np.str_] | None = None,
        prevalence: float | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (N,) of presence, rising with the logit within a sensor.

        Convention: odds = odds(calibrated) * odds(prevalence) / odds(prior). What is 0.99 among as
        many with as without is 0.0098 where one chip in ten thousand has it.

        Args:
            logits: of the model (N,); NaN stays NaN.
            sensor_ids: of each logit; the pooled curve serves unknown ones and None.
            prevalence: share of positives where the model is used, above 0 and below 1; that of
                the calibration set when not given.

        Raises:
            ConfigError: a prevalence outside of that.
        """
        prior = self.prior if prevalence is None else _checked(prevalence)
        return np.asarray(expit(self.log_ratio(logits, sensor_ids) + logit(prior)))

    def log_ratio(
        self,
        logits: ArrayLike,
        sensor_ids: Sequence[str | None] | NDArray[np.str_] | None = None,
    ) -> NDArray[np.float64]:
        """Log likelihood ratios (N,) of presence: what does not change with prevalence."""
        z = np.asarray(logits, dtype=np.float64)
        out = self.pooled.log_ratio(z)
        if sensor_ids is None or not self.sensors:
            return out
        ids = np.asarray(sensor_ids)
        for sensor, curve in self.sensors.items():
            of_it = ids == sensor
            out[of_it] = curve.log_ratio(z[of_it])
        return out

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "pooled": asdict(self.pooled),
            "sensors": {sensor: asdict(curve) for sensor, curve in self.sensors.items()},
            "losses": dict(self.losses),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` gave.

        Raises:
            ModelError: it is something else.
        """
        try:
            sensors = {sensor: _curve_of(curve) for sensor, curve in record["sensors"].items()}
            return cls(
                pooled=_curve_of(record["pooled"]), sensors=sensors, losses=dict(record["losses"])
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The calibration of the model cannot be read ({error!r}); calibrate it again."
            ) from error


def shift_prior(probability: ArrayLike, before: float, after: float) -> NDArray[np.float64]:
    """Probabilities as they are at another prevalence: odds * odds(after) / odds(before).

    Raises:
        ConfigError: a prevalence that is not above 0 and below 1.
    """
    odds = logit(np.asarray(probability, dtype=np.float64))
    return np.asarray(expit(odds + logit(_checked(after)) - logit(_checked(before))))


def fit_calibration(
    logits: ArrayLike,
    present: ArrayLike,
    sensor_ids: Sequence[str | None] | None = None,
    groups: ArrayLike | None = None,
) -> Calibration:
    """A calibration from chips that the model was not trained on.

    Platt scaling (Platt 1999, Probabilistic outputs for support vector machines), unless a
    temperature alone (Guo and others 2017, On calibration of modern neural networks) or, from 200
    of each kind on, isotonic regression (Zadrozny and Elkan 2002) has a cross-validated log loss
    that is lower by more than one standard error. A sensor with 50 of each kind gets a curve of
    its own under the same rule.

    The held-out chips must be a random sample of each kind. Chips that the model itself picked,
    as active learning does, are not: negatives among them are the hard ones.

    Args:
        logits: of the model (N,), finite.
        present: what the chips hold (N,), bool.
        sensor_ids: of each chip (N,).
        groups: of each chip (N,), its image or place. Chips of one stay in one fold, being alike,
            and count as one where numbers are asked for.

    Raises:
        LabelError: chips of one kind only, or logits that are not finite.
    """
    z, y = _checked_set(logits, present)
    group = None if groups is None else np.asarray(groups)
    pooled, losses = _choose(z, y, group)
    ids = np.asarray([] if sensor_ids is None else sensor_ids, dtype=object)
    sensors = {}
    for sensor in sorted({s for s in ids.tolist() if s is not None}):
        of_it = ids == sensor
        curve = _own_curve(z[of_it], y[of_it], None if group is None else group[of_it], pooled)
        if curve is not None:
            sensors[str(sensor)] = curve
    return Calibration(pooled=pooled, sensors=sensors, losses=losses)


def _fit(how: Form, z: NDArray[np.float64], y: NDArray[np.bool_]) -> Curve:
    knots: dict[str, tuple[float, ...]] = {}
    positives = y.astype(float)
    slope, intercept = fit_line(z, positives, 1 - positives, bias=how != "temperature")
    if how == "isotonic":
        knots = _knots(z, y)
    return Curve(
        how=how,
        slope=slope,
        intercept=intercept,
        prior=float(y.mean()),
        positives=int(y.sum()),
        negatives=int((~y).sum()),
        **knots,
    )


def _knots(z: NDArray[np.float64], y: NDArray[np.bool_]) -> dict[str, tuple[float, ...]]:
    """Knots of isotonic regression, joined by lines from the centre of one block to the next.

    So after Oron and Flournoy (2017), Centered isotonic regression: steps would leave most chips
    tied, and a threshold could not cut between them. Blocks of one kind only, which can be the
    first and the last alone, are held off 0 and 1 as Jeffreys' prior does.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit_transform(z, y.astype(float))
    share, block, count = np.unique(fitted, return_inverse=True, return_counts=True)
    centre = np.bincount(block, weights=z) / count
    if share[0] <= 0:
        share[0] = min(0.5 / (count[0] + 1), share[1] / 2)
    if share[-1] >= 1:
        share[-1] = max(1 - 0.5 / (count[-1] + 1), (1 + share[-2]) / 2)
    return {"logits": tuple(centre.tolist()), "log_odds": tuple(logit(share).tolist())}


def _choose(
    z: NDArray[np.float64], y: NDArray[np.bool_], group: NDArray[Any] | None
) -> tuple[Curve, dict[Form, float]]:
    """The curve of the form that serves best, and what each form that was tried loses."""
    forms: list[Form] = ["platt", "temperature"]
    if _fewest(y, group) >= _LEAST_FOR_ISOTONIC:
        forms.append("isotonic")
    folds = _folds(y, group)
    if not folds:
        return _fit("platt", z, y), {}
    losses = {how: _held_out_loss(how, z, y, folds) for how in forms}
    best: Form = "platt"
    for how in forms[1:]:
        if _is_less(losses[how], losses[best], group):
            best = how
    return _fit(best, z, y), {how: float(loss.mean()) for how, loss in losses.items()}


def _own_curve(
    z: NDArray[np.float64], y: NDArray[np.bool_], group: NDArray[Any] | None, pooled: Curve
) -> Curve | None:
    """The curve of one sensor, where it is better than the pooled one for certain."""
    if _fewest(y, group) < _LEAST_FOR_SENSOR:
        return None
    curve, _ = _choose(z, y, group)
    folds = _folds(y, group)
    if not folds:
        return None
    own = _held_out_loss(curve.how, z, y, folds)
    shared = log_loss(pooled.log_ratio(z) + logit(y.mean()), y)
    return curve if _is_less(own, shared, group) else None


def _held_out_loss(
    how: Form, z: NDArray[np.float64], y: NDArray[np.bool_], folds: Sequence[Fold]
) -> NDArray[np.float64]:
    """Log loss (N,) of each chip under the curve of the folds that it is not in."""
    loss = np.empty(len(z))
    for fitted, held in folds:
        curve = _fit(how, z[fitted], y[fitted])
        loss[held] = log_loss(curve.log_ratio(z[held]) + logit(curve.prior), y[held])
    return loss


def _is_less(
    loss: NDArray[np.float64], other: NDArray[np.float64], group: NDArray[Any] | None
) -> bool:
    """Whether a loss is lower by more than one standard error of the difference, over groups."""
    gain = other - loss
    if group is not None:
        _, of = np.unique(group, return_inverse=True)
        gain = np.bincount(of, weights=gain).astype(np.float64)
    return bool(gain.sum() > gain.std(ddof=1) * np.sqrt(len(gain)))


def _folds(y: NDArray[np.bool_], group: NDArray[Any] | None) -> list[Fold]:
    """Folds with both kinds in each, groups whole; none where there are too few of a kind."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = min(_FOLDS, _fewest(y, group))
    if count < 2:
        return []
    split: Callable[..., Any] = StratifiedKFold if group is None else StratifiedGroupKFold
    # A fixed seed: folds choose between forms and are no result.
    cut = split(n_splits=count, shuffle=True, random_state=0)
    folds = list(cut.split(y, y, group))
    return folds if all(0 < y[fitted].mean() < 1 for fitted, _ in folds) else []


def _fewest(y: NDArray[np.bool_], group: NDArray[Any] | None) -> int:
    """How many chips of the rarer kind there are, or groups that hold some."""
    unit = np.arange(len(y)) if group is None else group
    return min(len(np.unique(unit[y])), len(np.unique(unit[~y])))


def _curve_of(record: Mapping[str, Any]) -> Curve:
    knots = {key: tuple(map(float, record[key])) for key in ("logits", "log_odds")}
    return Curve(**{**record, **knots})


def _checked(prevalence: float) -> float:
    if not 0 < prevalence < 1:
        raise ConfigError(
            f"A prevalence of {prevalence} is none; give a share above 0 and below 1, as 1e-4."
        )
    return prevalence


def _checked_set(
    logits: ArrayLike, present: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(present, dtype=bool)
    if not y.any() or y.all():
        raise LabelError(
            f"{y.sum()} held-out chips with and {(~y).sum()} without cannot calibrate a model; "
            "hold out chips of both kinds."
        )
    if not np.isfinite(z).all():
        raise LabelError(
            f"{(~np.isfinite(z)).sum()} held-out logits are not finite; "
            "leave out chips without a valid pixel."
        )
    return z, y
