"""From labelled scenes to what a network is trained on."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HEIGHT, WIDTH, scene_of, write_raster
from rasterio.windows import Window

from geoseg.chips import HeldOut
from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.errors import ConfigError
from geoseg.labels import GLACIER
from geoseg.models import AnyInput, FixedInput
from geoseg.scenes import open_scene
from geoseg.sensors import find_sensor
from geoseg.training import gather, new_segmenter


@pytest.fixture
def sources(example, tmp_path):
    rng = np.random.default_rng(1)
    pan = rng.integers(1, 255, (1, HEIGHT, WIDTH)).astype(np.uint8)
    film = scene_of(
        write_raster(tmp_path / "film.tif", pan), bands=("pan",), sensor="hexagon-kh9-mapping"
    )
    return tuple(
        LabelledScene(
            scene=scene,
            outlines=example.outlines,
            layer=None,
            class_of="glacier",
            scheme=GLACIER,
            within_years=100,
        )
        for scene in (example.scene, film)
    )


def recipe(**changes):
    return Recipe(data="simulated-scene", **{"chips": {"size_px": 32}, **changes})


def test_a_fixed_stem_takes_one_set_of_bands(sources):
    material = gather(sources[:1], (), recipe())

    assert isinstance(material.spec.input, FixedInput)
    assert material.spec.input.bands == ("red", "nir08")
    with pytest.raises(ConfigError, match=r"scenes scene and film .* set model.stem to any"):
        gather(sources, (), recipe())


def test_how_common_classes_are_is_told_to_the_loss_and_to_the_map(sources):
    usual = gather(sources[:1], (), recipe())
    adjusted = gather(sources[:1], (), recipe(training={"loss": "logit_adjusted"}))

    ground, ice = usual.chips.pixels
    assert adjusted.chips.pixels == (ground, ice)
    assert ground > ice > 0
    assert usual.spec.prior == pytest.approx((ground / (ground + ice), ice / (ground + ice)))
    assert adjusted.spec.prior == (0.5, 0.5)


def test_a_network_for_any_bands_knows_what_it_was_shown(sources):
    film = {"share": 0.5, "cameras": ["corona-kh4b"]}
    chips = {"size_px": 32, "gsd_m": [20, 60]}
    material = gather(sources, (), recipe(model={"stem": "any"}, film=film, chips=chips))

    given = material.spec.input
    assert isinstance(given, AnyInput)
    landsat = find_sensor("landsat-7")
    assert set(given.seen) == {
        landsat.band("red"),
        landsat.band("nir08"),
        *find_sensor("hexagon-kh9-mapping").bands,
        *find_sensor("corona-kh4b").bands,
    }
    assert given.gsd_m == (30, 60)


def test_held_ground_is_validated_on_and_not_learned_from(sources, example):
    with open_scene(example.scene) as reader:
        held = HeldOut.parts(reader.grid, [Window(100, 0, 60, HEIGHT)])

    material = gather(sources, (), recipe(model={"stem": "any"}), ground=held, validation=held)

    for part in material.chips.labelled.parts:
        assert part.region == Window(0, 0, 100, HEIGHT)
    assert [chips.region for chips in material.chips.validation] == [Window(100, 0, 60, HEIGHT)] * 2
    assert (material.chips.validation[0][0].label == 1).any()


def test_scenes_to_adapt_to_give_chips_without_labels(sources):
    scene = {"path": "film.tif"}
    adaptation = {"scenes": [scene], "methods": ["self_training"]}
    material = gather(
        sources[:1],
        (sources[1].scene,),
        recipe(model={"stem": "any"}, adaptation=adaptation),
    )

    assert material.chips.unlabelled is not None
    assert material.chips.unlabelled[0].sensor_id == "hexagon-kh9-mapping"
    assert find_sensor("hexagon-kh9-mapping").bands[0] in material.spec.input.seen


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"film": {"share": 0.5}}, "no source has one; set it to 0"),
        (
            {"adaptation": {"scenes": [{"path": "f.tif"}], "methods": ["histogram"]}},
            "names histogram, and no labelled scene has the bands",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(sources, changes, words):
    landsat, film = sources
    nir_only = replace(landsat.scene, bands={"nir08": landsat.scene.bands["nir08"]})
    given = recipe(model={"stem": "any"}, **changes)

    with pytest.raises(ConfigError, match=words):
        gather((replace(landsat, scene=nir_only),), (film.scene,), given)


def test_with_nothing_to_learn_from_there_is_no_training():
    with pytest.raises(ConfigError, match="set learn: true"):
        gather((), (), recipe())


def test_validation_is_at_the_pixel_that_is_mapped_at(sources, example):
    with open_scene(example.scene) as reader:
        held = HeldOut.parts(reader.grid, [Window(96, 0, 64, HEIGHT)])
    chips = {"size_px": 32, "gsd_m": [60, 60]}

    material = gather(
        sources, (), recipe(model={"stem": "any"}, chips=chips), ground=held, validation=held
    )

    chip = material.chips.validation[0][0]
    assert (chip.gsd_m, chip.image.shape[-2:]) == (60, (32, 32))


def test_a_seed_gives_the_same_network(sources):
    given = recipe(model={"stem": "any"})
    spec = gather(sources, (), given).spec

    one, two = (new_segmenter(spec, given).state_dict() for _ in range(2))
    assert all((one[key] == two[key]).all() for key in one)
