import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from conftest import scene_of, two_band_spec, write_raster

from geoseg.config import InferenceSettings
from geoseg.errors import ConfigError
from geoseg.inference import Mapper, open_input, plan_mapping, within_memory
from geoseg.models import build_segmenter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def segmenter():
    spec = two_band_spec()
    return build_segmenter(spec).eval()


def huge_scene(folder, side=300_000):
    """A file of some megabytes that declares 180 gigabytes."""
    path = folder / "huge.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=2,
        dtype="uint8",
        crs="EPSG:32645",
        transform=rasterio.Affine(1, 0, 500_000, 0, -1, 3_100_000),
        nodata=0,
        tiled=True,
        blockxsize=1024,
        blockysize=1024,
        sparse_ok=True,
        bigtiff="yes",
    ):
        pass
    return scene_of(path)


def plan_of(segmenter, scene, most_mb=None, *, timed=False, **settings):
    chosen = InferenceSettings(**settings)
    mapper = Mapper([segmenter], chosen, CPU)
    with open_input(segmenter.spec.input, scene, chosen.gsd_m) as reader:
        if most_mb is not None:
            chosen = within_memory(mapper, reader, chosen, most_mb)
        return plan_mapping(mapper, reader, chosen, timed=timed), chosen


@pytest.mark.slow
def test_a_plan_counts_tiles_batches_and_what_is_shown_twice(segmenter, tmp_path):
    image = np.ones((2, 700, 1000), np.uint8)
    scene = scene_of(write_raster(tmp_path / "a.tif", image))

    plan, _ = plan_of(segmenter, scene, tile_px=256, halo_px=32, batch=4, timed=True)

    assert (plan.height_px, plan.width_px, plan.gsd_m) == (700, 1000, 30)
    assert (plan.tile_height_px, plan.tile_width_px) == (288, 320)
    assert plan.tiles == 3 * 4
    assert plan.batches == 3
    assert plan.forward_px_ratio == pytest.approx(12 * 288 * 320 / 700_000)
    assert 0 < plan.seconds < 60


@pytest.mark.slow
def test_less_memory_means_smaller_tiles(segmenter, tmp_path):
    scene = huge_scene(tmp_path)
    whole, _ = plan_of(segmenter, scene, batch=4)
    # What the program takes by itself depends on what ran before in this process.
    least, _ = plan_of(segmenter, scene, tile_px=64, halo_px=16)
    most_mb = least.memory_mb + 500

    plan, chosen = plan_of(segmenter, scene, most_mb, batch=4)

    assert whole.memory_mb > most_mb + 2000
    assert plan.memory_mb <= most_mb
    assert chosen.batch == 1
    assert chosen.tile_px < 1024
    assert 4 * chosen.halo_px <= chosen.tile_px
    with pytest.raises(ConfigError, match=r"cannot be mapped in \d+ MB: with the smallest tiles"):
        plan_of(segmenter, scene, least.memory_mb - 100)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_below_what_was_planned(tmp_path):
    """In a process of its own, with a Unet, which takes more than all the rest."""
    scene = tmp_path / "a.tif"
    image = np.random.default_rng(0).integers(1, 255, (2, 1500, 1500)).astype(np.uint8)
    write_raster(scene, image)
    code = f"""
        import sys, torch
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from conftest import scene_of
        from test_plan import plan_of, segmenter
        from geoseg.config import InferenceSettings
        from geoseg.inference import Prediction, predict_scene

        network = segmenter.__wrapped__() if hasattr(segmenter, "__wrapped__") else segmenter()
        scene = scene_of(Path({str(scene)!r}))
        settings = InferenceSettings(tile_px=512, prevalence_reach_m=0)
        plan, _ = plan_of(network, scene, tile_px=512, prevalence_reach_m=0)
        prediction = Prediction.within(Path({str(tmp_path)!r}), settings)
        predict_scene(network, scene, settings, prediction=prediction, tags={{}},
            device=torch.device("cpu"), on_tile=lambda *_: None)
        # Not ru_maxrss, which a child takes over from the process that began it.
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(plan.memory_mb, int(status["VmHWM"].split()[0]) * 1.024e-3)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
    )
    assert done.returncode == 0, done.stderr
    planned_mb, held_mb = map(float, done.stdout.split())
    assert 0.5 * planned_mb < held_mb < planned_mb
