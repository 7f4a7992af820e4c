"""What a model found in many places, as one page that needs nothing but a browser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoseg.files import write_text
from geoseg.page.policy import WRITTEN
from geoseg.report.figure_files import write_figures
from geoseg.report.inventory_page import check_report_path
from geoseg.report.presence_figures import (
    draw_first_years,
    draw_precision_recall,
    draw_probabilities,
    draw_reliability,
)
from geoseg.report.presence_sheets import contour_path, data_uri
from geoseg.report.quantities import UNKNOWN, quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from geoseg.metrics.prevalence import Estimate
    from geoseg.metrics.resampling import Interval
    from geoseg.report.presence_sheets import Sheet, ShownPlace, Thumbnail
    from geoseg.report.presence_tally import FirstYears, ProbabilityCounts
    from geoseg.report.presence_truth import Truth

__all__ = ["DecisionRule", "PresenceReport", "TotalNumber", "write_presence_report"]

_MOST_PROBLEMS = 20
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """When a place is said to hold it: from a threshold on, and what that promises."""

    threshold: float  # on the probability, 0 to 1
    n: int | None = (
        None  # held-out places with it that set the threshold; None: nothing is promised
    )
    recall: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalNumber:
    """How many of the places that were seen hold it, found or not."""

    value: float
    low: float  # both NaN without an interval
    high: float
    words: str  # how it was estimated, and of how many per cent the interval is

    @classmethod
    def of(cls, estimate: Estimate, seen: int) -> TotalNumber:
        """An estimated share as a number of places, of so many with a probability.

        The share is that of places with a probability: a place without a valid pixel is no part
        of what it was estimated from.
        """
        return cls(
            value=estimate.value * seen,
            low=estimate.low * seen,
            high=estimate.high * seen,
            words=f"{100 * estimate.confidence:g} % interval, by {estimate.method}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceReport:
    """All that a page says."""

    title: str
    target: str  # what was looked for: thaw_slump
    facts: Mapping[str, str]  # what was run, as titles and words
    places: int
    images: int
    found: int  # places that are said to hold it
    counts: ProbabilityCounts
    rule: DecisionRule
    unscored: int = 0  # places without a probability
    unfinished: str | None = None  # a sentence where parts of the results are missing
    problems: tuple[str, ...] = ()  # sentences
    problem_count: int | None = None  # where there are more
    total: TotalNumber | None = None
    truth: Truth | None = None
    why_no_truth: str = "Of none of these places it is known what they hold."
    sheets: tuple[Sheet, ...] = ()
    first: FirstYears | None = None


def write_presence_report(path: Path, report: PresenceReport) -> tuple[Path, ...]:
    """Write a page that holds all it shows, and its figures as PNG and SVG beside it.

    The figures lie in a folder named like the page with `_figures` at its end. The page makes no
    request and runs no script.

    Args:
        path: the .html; replaced when it exists.
        report: may be of no place at all.

    Returns:
        What was written, the page first.

    Raises:
        ConfigError: the path does not end in .html.
        OutputError: a file cannot be written.
    """
    check_report_path(path)
    figures = {
        "probabilities": draw_probabilities(report.counts, report.rule.threshold),
        "precision_recall": None if report.truth is None else draw_precision_recall(report.truth),
        "reliability": None if report.truth is None else draw_reliability(report.truth),
        "first_years": None if report.first is None else draw_first_years(report.first),
    }
    written, pictures = write_figures(path, figures)
    write_text(path, _page(report, pictures))
    return (path, *written)


def _page(report: PresenceReport, pictures: dict[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "chance": chance,
        "contour": lambda image: _contour(image),
        "degrees": lambda angle: f"{angle:.6f}",
        "picture": data_uri,
        "position": _position,
    }
    environment.filters |= filters
    images = [image for s in report.sheets for place in s.places for image in place.images]
    return environment.get_template("presence_page.html").render(
        policy=WRITTEN,
        report=report,
        target=_words(report.target),
        truth=report.truth,
        cards=_cards(report),
        rule=_rule(report),
        pictures=pictures,
        first_words="" if report.first is None else _first_words(report.first),
        any_evidence=any(image.evidence is not None for image in images),
        problems=report.problems[:_MOST_PROBLEMS],
        problem_count=report.problem_count or len(report.problems),
    )


def _cards(report: PresenceReport) -> list[tuple[str, str, str]]:
    """What there is to know first: titles, numbers, and what else is to say of them."""
    share = f"{quantity(100 * report.found / report.places)} % of all" if report.places else ""
    cards = [(f"Said to hold a {_words(report.target)}", f"{report.found:,}", share)]
    if report.total is not None:
        total = report.total
        ends = ""
        if math.isfinite(total.low):
            ends = f"{quantity(total.low)} to {quantity(total.high)}, "
        seen = report.places - report.unscored
        of = f"the {seen:,} places that were seen" if report.unscored else "all places"
        cards.append((f"Estimated number in {of}", quantity(total.value), f"{ends}{total.words}"))
    if report.truth is not None:
        cards += _truth_cards(report.truth)
    return cards


def _truth_cards(truth: Truth) -> list[tuple[str, str, str]]:
    scores, at = truth.detection, chance(truth.detection.prevalence)
    where = f"at {'a' if truth.deployed else 'their own'} prevalence of {at}"
    level = f"at a recall of {100 * scores.recall:g} %"
    wrong = scores.false_positives_1e5
    return [
        ("Average precision", *_share(truth.curve.average_precision, where)),
        ("Recall at the threshold", *_share(truth.recall, "after Clopper and Pearson")),
        (f"Precision {level}", *_share(scores.precision, where)),
        (
            f"False positives {level}",
            f"{quantity(wrong.value)} {_TIMES} 10{_raised(-5)}",
            f"{quantity(wrong.low)} to {quantity(wrong.high)}, of 100,000 places without",
        ),
        (
            "Calibration error",
            f"{truth.calibration.ece:.3f}",
            f"{truth.calibration.ece_debiased:.3f} less what chance adds",
        ),
    ]


def _share(share: Interval, words: str) -> tuple[str, str]:
    """A share and its interval."""
    if not math.isfinite(share.low):
        return chance(share.value), f"no interval; {words}"
    return chance(share.value), f"{chance(share.low)} to {chance(share.high)}, {words}"


def _rule(report: PresenceReport) -> list[str]:
    """The rule of decision, in sentences."""
    rule, target = report.rule, _words(report.target)
    told = [
        f"A place is said to hold a {target} when its probability is {chance(rule.threshold)} or "
        "more."
    ]
    if rule.n is None or rule.recall is None or rule.confidence is None:
        told.append("This threshold was not set from held-out places, so it promises no recall.")
        return told
    # Cut, not rounded: more would be promised than is guaranteed.
    share = f"{math.floor(1000 * rule.recall + 1e-6) / 10:g} %"
    told.append(
        f"The threshold was set on {rule.n:,} held-out places with a {target}, so that at least "
        f"{share} of such places are found, with a confidence of {100 * rule.confidence:g} %. That "
        "holds for places that are like those."
    )
    if rule.threshold == 0:
        told.append(
            "So few places guarantee that recall at no threshold above 0: every place is said to "
            "hold it. Hold out more."
        )
    return told


def chance(probability: float) -> str:
    """A probability in words: three digits, and more where it is near 0 or 1."""
    if not math.isfinite(probability):
        return UNKNOWN
    if probability > 0.9995:
        return "> 0.999"
    if probability == 0 or probability >= 0.001:
        return f"{probability:.3f}"
    digits, power = f"{probability:.1e}".split("e")
    return f"{digits} {_TIMES} 10{_raised(int(power))}"


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _first_words(first: FirstYears) -> str:
    dated = int(first.counts.sum())
    words = f"{dated:,} first appear in one of these years"
    if not dated:
        words = "None first appears between the first and the last image"
    if first.before:
        words += f"; {first.before:,} were probably there before the first image"
    if math.isfinite(first.median_width):
        words += f". Half of the intervals of 90 % are no wider than {first.median_width:.1f} years"
    return words + "."


def _contour(image: Thumbnail) -> str:
    return "" if image.evidence is None else contour_path(image.evidence, 0.0)


def _position(place: ShownPlace) -> str:
    north = "N" if place.lat >= 0 else "S"
    east = "E" if place.lon >= 0 else "W"
    return f"{abs(place.lat):.4f}° {north}, {abs(place.lon):.4f}° {east}"


def _words(target: str) -> str:
    return target.replace("_", " ")
