"""`geoseg presence first`: from the results of a prediction to a table of first appearances."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from geoseg.commands.presence.first import first
from geoseg.errors import DataError, LabelError
from geoseg.metrics.calibration import fit_calibration
from geoseg.presence.appearance import DateErrors, OnsetPrior
from geoseg.presence.first_table import (
    date_errors_of,
    shipped_date_errors,
    write_first_appearances,
)
from geoseg.presence.results import Result, part_of_shard, write_part

# `first` alone would be an application without verbs.
app = typer.Typer()
app.command()(first)
app.command("other")(lambda: None)


def result(name, dates, *, decision=True, present=None):
    """Of (year, logit, validity) of a place."""
    years, logits, validity = zip(*dates, strict=True)
    return Result(
        id=name,
        lon=-120.5,
        lat=71.25,
        present=present,
        times=tuple(datetime(int(year), 7, 2, tzinfo=UTC) for year in years),
        years=years,
        sensors=("landsat-7",) * len(years),
        image_logits=logits,
        image_valid=validity,
        logit=1.0,
        probability=0.75,
        decision=decision,
    )


@pytest.fixture
def results(tmp_path):
    """Places in two shards; what came to the first one did so between 1999 and 2003."""
    folder = tmp_path / "results"
    new = result("new", [(1999.5, -8, 1), (2001.5, None, 0), (2003.5, 8, 1), (2006.5, 8, 1)])
    old = result("old", [(1999.5, 8, 1), (2003.5, 8, 0.9)])
    none = result("none", [(1999.5, -8, 1), (2003.5, -8, 1)], decision=False)
    hidden = result("hidden", [(2003.5, None, 0)], decision=None)
    write_part(part_of_shard(folder, 0), [new, old], model="a", told=None)
    write_part(part_of_shard(folder, 1), [none, hidden], model="a", told=None)
    return folder


def test_the_table_tells_between_which_images_a_slump_came(results, tmp_path):
    out = tmp_path / "first.parquet"

    seen = write_first_appearances(results, out, prior=OnsetPrior(), errors=DateErrors())

    table = gpd.read_parquet(out).set_index("chip_id")
    assert list(table.index) == ["new", "old", "none", "hidden"]
    assert tuple(table.loc["new", ["first_after", "first_until"]]) == (1999.5, 2003.5)
    assert table.loc["new", "first_year"] == pytest.approx(2001.5, abs=0.1)
    assert table.loc["old", "first_until"] == 1999.5
    assert table.loc[["old", "none", "hidden"], "first_after"].isna().all()
    assert table.loc[["none", "hidden"], "first_until"].isna().all()
    assert table.crs.to_string() == "OGC:CRS84"
    assert (table.geometry.x == -120.5).all()
    assert table["probability"].to_list() == [0.75] * 4
    assert (seen.places, seen.present, seen.unseen) == (4, 2, 1)
    assert list(seen.spans.items()) == [((None, 1999), 1), ((1999, 2003), 1)]


def test_logits_are_calibrated_as_the_results_say(results, tmp_path):
    # A model whose logits mean the contrary, by a weak curve: nothing is new or old any more.
    rng = np.random.default_rng(0)
    present = rng.random(400) < 0.5
    calibration = fit_calibration(rng.normal(0, 8, 400), present)
    record = json.dumps({"calibration": calibration.to_dict()})
    (results / "results.json").write_text(record, encoding="utf-8")

    seen = write_first_appearances(
        results, tmp_path / "first.parquet", prior=OnsetPrior(), errors=DateErrors()
    )

    assert seen.calibrated
    table = gpd.read_parquet(tmp_path / "first.parquet").set_index("chip_id")
    assert np.isnan(table.loc["new", "first_after"])


def test_errors_of_images_are_learnt_from_labelled_results(tmp_path):
    rng = np.random.default_rng(0)
    present = np.arange(600) < 200
    places = []
    for number, is_present in enumerate(present):
        offset = rng.normal(0, 2)
        logits = 3 * (1 if is_present else -1) + offset + rng.normal(0, 2, 5)
        dates = [(2000.0 + i, float(logit), 1.0) for i, logit in enumerate(logits)]
        places.append(result(f"p{number}", dates, present=bool(is_present)))
    unlabelled = result("?", [(2000, 500.0, 1.0)])
    write_part(part_of_shard(tmp_path, 0), [*places, unlabelled], model="a", told=None)

    errors = date_errors_of(tmp_path)

    assert errors.correlation == pytest.approx(0.5, abs=0.07)
    assert errors.separation == pytest.approx(36 / 8, rel=0.15)


def test_results_without_labels_teach_no_errors(results):
    with pytest.raises(LabelError, match="0 present places and 0 dates of absent ones are too few"):
        date_errors_of(results)


def test_a_folder_without_results_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match="holds no results"):
        write_first_appearances(
            tmp_path, tmp_path / "first.parquet", prior=OnsetPrior(), errors=DateErrors()
        )

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_is_named_before_anything_is_written(results, tmp_path):
    part = part_of_shard(results, 1)
    part.write_bytes(part.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"shard=000001.part.parquet cannot be read .*; delete it"):
        write_first_appearances(
            results, tmp_path / "first.parquet", prior=OnsetPrior(), errors=DateErrors()
        )


def test_damaged_results_json_is_told(results, tmp_path):
    (results / "results.json").write_text("{", encoding="utf-8")

    with pytest.raises(DataError, match=r"results.json is damaged .*; run the prediction again"):
        write_first_appearances(
            results, tmp_path / "first.parquet", prior=OnsetPrior(), errors=DateErrors()
        )


@pytest.mark.parametrize(
    "told", [{"separation": 9.0, "sepration": 1.0}, {"scale": "much"}, {"scale": 0.0}, [9.0]]
)
def test_errors_of_images_that_no_model_ships_are_told_in_a_sentence(results, told):
    (results / "results.json").write_text(json.dumps({"date_errors": told}), encoding="utf-8")

    with pytest.raises(DataError, match=r"date_errors of .*results.json cannot be read"):
        shipped_date_errors(results)


def test_the_command_counts_places_by_interval(results, tmp_path):
    out = tmp_path / "first.parquet"

    done = CliRunner().invoke(app, ["first", str(results), "--out", str(out), "--json"])

    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["first_seen"] == [
        {"after": None, "until": 1999, "places": 1},
        {"after": 1999, "until": 2003, "places": 1},
    ]
    assert (figures["places"], figures["present"], figures["without_valid_image"]) == (4, 2, 1)
    assert out.is_file()


def test_the_command_prints_a_table(results, tmp_path):
    out = tmp_path / "first.parquet"

    done = CliRunner().invoke(app, ["first", str(results), "--out", str(out)])

    assert "First seen: 2 of 4 places" in done.stdout
    assert "1999 to 2003" in done.stdout
    assert "by 1999" in done.stdout
    assert "How single images err is not known" in done.stderr
