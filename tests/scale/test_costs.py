"""What an archive takes, by arithmetic."""

import json

import pytest
from command_line import geoseg_here

from geoseg.errors import ConfigError
from geoseg.scale.costs import UnitCosts, archive_costs


def test_costs_are_sums_over_pixels_and_scenes():
    each = UnitCosts(map_s=2, outline_s=0.5, scene_s=10, read_bytes=4, write_bytes=1)

    found = archive_costs(720, 4, workers=8, each=each)

    assert found.pixels == 720 * 4e6
    assert found.core_hours == pytest.approx(720 * (4 * 2.5 + 10) / 3600)
    assert found.hours == pytest.approx(found.core_hours / 8)
    assert (found.read_tb, found.write_tb) == pytest.approx((720 * 16e6 / 1e12, 720 * 4e6 / 1e12))
    assert archive_costs(2, 4, workers=8, each=each).hours == pytest.approx(20 / 3600)


@pytest.mark.parametrize(
    ("scenes", "megapixels", "workers"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, float("nan"), 1)]
)
def test_no_archive_costs_nothing_that_could_be_told(scenes, megapixels, workers):
    with pytest.raises(ConfigError, match="are no archive"):
        archive_costs(scenes, megapixels, workers=workers)


def test_the_calculator_says_what_it_counted_with():
    ask = ("plan", "--scenes", 10, "--megapixels", 100, "--workers", 4, "--map-s", 3.6)

    told = json.loads(geoseg_here(*ask, "--scene-s", 0, "--json").stdout)
    shown = geoseg_here(*ask)
    wrong = geoseg_here(*ask, "--read-bytes", -1)

    assert told["each"]["map_s"] == 3.6
    assert told["core_hours"] == pytest.approx(1 + told["each"]["outline_s"] / 3.6)
    assert "hours on 4 cores" in shown.stdout
    assert wrong.returncode == 2
    assert "read_bytes = -1 is no cost; give 0 or more." in wrong.stderr
