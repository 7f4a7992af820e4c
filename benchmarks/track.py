"""Tracking: real inventories, known truth, honest areas, and time beside geopandas.

    python benchmarks/track.py [--json] [--quick]

Real inventories, read from GEOSEG_DATA_MIRROR and left out with a word where they are not there:
glaciers of Glacier National Park in 1966, 1998, 2005 and 2015 with the published table of areas
(planar, from outlines that were not simplified), and glacial lakes of the Hindu Kush Himalaya in
2000, 2010 and 2020 with the ids that their authors gave them.

Simulated landscape: surveys with splits, merges, appearances, a scene that ends in the middle,
clouds and digitising noise. Purity is the share of outlines whose track is mostly of their own
thing, completeness the share that lies in the track with most outlines of their thing; an event is
found where it is told between the same surveys, of the same things. Areas: how often the truth lies
in the 90 % interval (benchmarks/area_coverage.py). Maps: mean IoU over five dates of class maps
with errors in blobs, as they are and made consistent with each other.

Time: 8 surveys of 50,000 polygons of 24 corners, a tenth of which split or merge, by geoseg and by
what is usually written with geopandas: overlay of consecutive surveys, the largest share of each,
ids carried on. Growth: CPU seconds and memory from 8 x 25,000 to 8 x 400,000, each size in a
process of its own; the exponent is the slope of log time over log size. --quick leaves out the
largest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from area_coverage import measure_coverage
from scipy.ndimage import gaussian_filter

from geoseg.data.simulate import make_landscape, surface
from geoseg.inventory.consistency.transitions import (
    evidence_of_classes,
    smooth_classes,
    transitions_of,
)
from geoseg.inventory.tracking import FREE, Linked, Sighting, link_sightings
from geoseg.labels import GLACIER_SURFACE, IGNORE, geodesic_areas_km2
from geoseg.metrics import confusion_matrix, score_classes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from inventory.simulated_tracks import score, simulate_tracks

ROUNDS = 3
SURVEYS = 8
CORNERS = 24
SIZES = (25_000, 50_000, 100_000, 200_000, 400_000)
UTM_12 = 26912
YEARS = (1975, 1990, 2009, 2016, 2025)


def mirrored(name: str) -> Path | None:
    """The folder of a data set; None, with a word, where it is not there."""
    folder = Path(os.environ.get("GEOSEG_DATA_MIRROR", "")) / name
    if folder.is_dir():
        return folder
    print(f"{name} is not in GEOSEG_DATA_MIRROR and is left out")
    return None


def sighted(tables: list[gpd.GeoDataFrame]) -> list[Sighting]:
    """Surveys that saw all of the ground, of outlines without a known track."""
    found = []
    for table in tables:
        polygons = shapely.make_valid(
            table.geometry.to_numpy(), method="structure", keep_collapsed=False
        )
        found.append(Sighting(polygons, None, np.full(len(polygons), FREE)))
    return found


# ---- real inventories


def glaciers_of_the_park() -> dict[str, float]:
    """Areas beside the published ones, and how many glaciers keep one track."""
    folder = mirrored("gnp_glaciers")
    if folder is None:
        return {}
    table = pd.read_csv(folder / "data" / "area-all.csv").set_index(["Year", "num"])["AREA"]
    surveys = [gpd.read_file(folder / "data" / f"polys{y}.json") for y in ("66", "98", "05", "15")]
    errors = []
    for survey in surveys:
        mended = survey.set_geometry(
            shapely.make_valid(
                survey.geometry.to_numpy(), method="structure", keep_collapsed=False
            ),
            crs=survey.crs,
        )
        published = table.loc[list(zip(survey["Year"].astype(int), survey["num"], strict=True))]
        errors.append(geodesic_areas_km2(mended, bend_m=0.01) * 1e6 / published.to_numpy() - 1)
    errors = np.abs(np.concatenate(errors))
    whole = gpd.read_file(folder / "project-files" / "GNPglaciers_2015.shp")
    most = np.abs(geodesic_areas_km2(whole, bend_m=1000) * 1e6 / whole["Area"] - 1).max()
    linked = link_sightings(sighted([survey.to_crs(UTM_12) for survey in surveys]))
    tracks: dict[str, set[int]] = {}
    for survey, found in zip(surveys, linked.of_outline, strict=True):
        for name, track in zip(survey["GLACNAME"], found.tolist(), strict=True):
            tracks.setdefault(name, set()).add(track)
    kept = [len(found) == 1 for found in tracks.values()]
    print(f"\nGlacier National Park: {len(errors)} areas, {len(tracks)} named glaciers")
    print(f"  within 1 % of the table       {np.mean(errors <= 0.01):.3f}")
    print(f"  largest error, 2015 shapefile {most:.2%}")
    print(f"  glaciers with one track       {np.mean(kept):.3f}, events {len(linked.events)}")
    return {
        "gnp_area_match": float(np.mean(errors <= 0.01)),
        "gnp_2015_max_error": float(most),
        "gnp_tracks_ok": float(np.mean(kept)),
        "gnp_false_events": len(linked.events),
    }


def lakes_of_the_himalaya() -> dict[str, float]:
    """Lakes that are linked, with the ids that their authors gave; new and vanished ones."""
    folder = mirrored("hkh_lakes")
    if folder is None:
        return {}
    tables = [
        gpd.read_file(folder / "HKHLAKEDB" / f"HKH_{year}.shp") for year in (2000, 2010, 2020)
    ]
    linked = link_sightings(sighted(tables))
    figures: dict[str, float] = {}
    print("\nLakes of the Hindu Kush Himalaya")
    for one, other in ((0, 1), (1, 2)):
        ids = [
            dict(zip(linked.of_outline[n].tolist(), tables[n]["GLIMS_ID"], strict=True))
            for n in (one, other)
        ]
        both = ids[0].keys() & ids[1].keys()
        same = sum(ids[0][track] == ids[1][track] for track in both)
        name = f"{2000 + 10 * one}_{2000 + 10 * other}"
        told = [e.name for e in linked.events if e.after == other]
        figures |= {f"hkh_linked_{name}": len(both), f"hkh_same_id_{name}": same}
        figures |= {f"hkh_{event}_{name}": told.count(event) for event in sorted(set(told))}
        print(f"  {name}: {len(both)} linked, {same} of them with one id; "
              + ", ".join(f"{told.count(e)} {e}" for e in sorted(set(told))))  # fmt: skip
    return figures


# ---- known truth


def known_truth(seeds: range) -> dict[str, float]:
    """Purity and completeness of tracks, and events found and told falsely."""
    sums = np.zeros(6)
    for seed in seeds:
        for simulated in simulate_tracks(seed):
            linked = link_sightings([survey.sighting() for survey in simulated.surveys])
            told = score(simulated, linked)
            sums += [getattr(told, field.name) for field in fields(told)]
    outlines, pure, complete, events, found, false = sums.tolist()
    print(f"\nSimulated surveys: {outlines:.0f} outlines, {events:.0f} events")
    print(f"  purity {pure / outlines:.4f}, completeness {complete / outlines:.4f}")
    print(f"  events found {found:.0f}, told falsely {false:.0f}")
    return {
        "purity": pure / outlines,
        "completeness": complete / outlines,
        "events": events,
        "events_found": found / events,
        "false_events": false,
    }


def consistent_maps(seeds: range) -> dict[str, float]:
    """Mean IoU over five dates of maps with an error in every eighth pixel, in blobs."""
    count = len(GLACIER_SURFACE.classes)
    rules = transitions_of(GLACIER_SURFACE)
    scores: dict[str, list[float]] = {"single": [], "consistent": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        landscape = make_landscape(seed=seed, size_m=3600)
        truth = [surface(landscape, year).classes[::2, ::2] for year in YEARS]
        maps = [with_blobs(classes, count, rng) for classes in truth]
        evidence = np.stack([evidence_of_classes(classes, count) for classes in maps])
        years = np.array(YEARS, dtype=float)
        smooth = smooth_classes(evidence, years, rules).argmax(axis=1).astype(np.uint8)
        for true, single, consistent in zip(truth, maps, smooth, strict=True):
            seen = single != IGNORE
            scores["single"].append(mean_iou(true[seen], single[seen], count))
            scores["consistent"].append(mean_iou(true[seen], consistent[seen], count))
    single, consistent = (float(np.mean(values)) for values in scores.values())
    print(f"\nMean IoU over dates: single maps {single:.3f}, consistent {consistent:.3f}")
    return {"single_date_iou": single, "consistent_iou": consistent}


def with_blobs(classes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A map with another class in an eighth of its pixels, and a tenth of it not seen."""
    noise, cloud = (gaussian_filter(rng.standard_normal(classes.shape), reach) for reach in (6, 20))
    wrong = noise > np.quantile(noise, 0.88)
    other = (classes + rng.integers(1, count)) % count
    mapped = np.where(wrong, other, classes)
    return np.where(cloud > np.quantile(cloud, 0.9), IGNORE, mapped).astype(np.uint8)


def mean_iou(truth: np.ndarray, mapped: np.ndarray, count: int) -> float:
    """Over the classes beside the ground that the truth holds."""
    scores = score_classes(confusion_matrix(truth, mapped, count))[1:]
    return float(np.mean([s.iou for s in scores if s.pixels]))


# ---- time


def surveys_of(count: int, seed: int = 0) -> list[np.ndarray]:
    """Surveys of polygons that shrink; of every tenth, one becomes two or two become one."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(count)) + 1
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)[:count]
    centres = lattice * 1000.0 + rng.uniform(-180, 180, (count, 2))
    radius = rng.uniform(100, 310, count)
    fate = rng.choice(3, count, p=(0.9, 0.05, 0.05))  # stays, splits, merges
    when = rng.integers(1, SURVEYS, count)
    surveys = []
    for number in range(SURVEYS):
        two = np.where(fate == 1, number >= when, (fate == 2) & (number < when))
        size = radius * (1 - 0.02 * number)
        half = np.stack([0.52 * size, np.zeros(count)], axis=1)
        middles = np.concatenate([centres[~two], (centres + half)[two], (centres - half)[two]])
        sizes = np.concatenate([size[~two], 0.48 * size[two], 0.45 * size[two]])
        surveys.append(rounds(middles + rng.normal(0, 8, middles.shape), sizes, rng))
    return surveys


def rounds(middles: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Polygons of 24 corners about these places, with a ragged border."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = sizes[:, None] * rng.normal(1, 0.05, (len(sizes), CORNERS))
    corners = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * reach[:, :, None]
    return shapely.polygons(middles[:, None, :] + corners)


def by_geoseg(surveys: list[np.ndarray]) -> Linked:
    """Tracks, states and events."""
    return link_sightings(
        [Sighting(polygons, None, np.full(len(polygons), FREE)) for polygons in surveys]
    )


def by_geopandas(surveys: list[np.ndarray]) -> int:
    """Ids by the largest share, as they are usually carried from survey to survey; how many."""
    tables = [gpd.GeoDataFrame({"row": np.arange(len(p))}, geometry=p, crs=32643) for p in surveys]
    ids = np.arange(len(tables[0]))
    count = len(ids)
    for before, after in pairwise(tables):
        shared = gpd.overlay(before, after, how="intersection", keep_geom_type=True)
        shared["area"] = shared.area
        smaller = np.minimum(
            before.area.to_numpy()[shared["row_1"]], after.area.to_numpy()[shared["row_2"]]
        )
        shared = shared[shared["area"] >= 0.1 * smaller].sort_values("area", ascending=False)
        pairs = shared.drop_duplicates("row_1").drop_duplicates("row_2")
        new = np.full(len(after), -1)
        new[pairs["row_2"].to_numpy()] = ids[pairs["row_1"].to_numpy()]
        free = np.flatnonzero(new < 0)
        new[free] = np.arange(count, count + len(free))
        ids, count = new, count + len(free)
    return count


def beside_geopandas(count: int) -> dict[str, float]:
    """Median seconds of both in turn."""
    surveys = surveys_of(count)
    taken: dict[str, list[float]] = {"geoseg": [], "geopandas": []}
    tracks = {}
    for _ in range(ROUNDS):
        for name, job in (("geoseg", by_geoseg), ("geopandas", by_geopandas)):
            begun = time.perf_counter()
            found = job(surveys)
            taken[name].append(time.perf_counter() - begun)
            tracks[name] = len(found.states) if isinstance(found, Linked) else found
    ours, theirs = (statistics.median(seconds) for seconds in taken.values())
    print(f"\n{SURVEYS} surveys x {count} polygons")
    for name, seconds in (("geoseg", ours), ("geopandas", theirs)):
        print(f"  {name:10} {seconds:7.2f} s, {tracks[name]} tracks")
    return {
        "seconds": round(ours, 2),
        "geopandas_seconds": round(theirs, 2),
        "vs_geopandas": ours / theirs,
    }


def growth(sizes: tuple[int, ...]) -> dict[str, float]:
    """CPU seconds and memory by the number of polygons of a survey."""
    print(f"\n{'polygons a survey':>18} {'CPU s':>8} {'MB':>8}")
    # Memory of the one that starts a process counts in its peak, so a small one starts it.
    starter = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    seconds, megabytes = [], []
    for count in sizes:
        done = subprocess.run(
            [*starter, sys.executable, __file__, "--only", str(count)],
            check=True,
            capture_output=True,
            text=True,
        )
        cpu, peak = json.loads(done.stdout)
        seconds.append(cpu)
        megabytes.append(peak)
        print(f"{count:18} {cpu:8.2f} {peak:8.0f}", flush=True)
    size = np.log(sizes)
    memory = np.polyfit(np.array(sizes) / 1e5, megabytes, 1)[0]
    return {
        "growth_exponent": float(np.polyfit(size, np.log(seconds), 1)[0]),
        "memory_exponent": float(np.polyfit(size, np.log(megabytes), 1)[0]),
        "memory_mb_per_100k": float(memory),
        f"seconds_{sizes[-1]}": round(seconds[-1], 2),
    }


def only(count: int) -> None:
    """CPU seconds of tracking, and the peak memory of the process in MB, as JSON."""
    surveys = surveys_of(count)
    begun = time.process_time()
    by_geoseg(surveys)
    cpu = time.process_time() - begun
    print(json.dumps([cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    """Measure, print tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="leave the largest sizes out")
    parser.add_argument("--only", type=int, help="track so many polygons a survey")
    options = parser.parse_args()
    if options.only is not None:
        only(options.only)
        return
    figures = glaciers_of_the_park() | lakes_of_the_himalaya()
    figures |= known_truth(range(3))
    figures |= consistent_maps(range(3))
    coverage = measure_coverage(seeds=range(2 if options.quick else 3))
    shares = ", ".join(f"{cause} {told['covered']:.3f}" for cause, told in coverage.items())
    print(f"\nTruth within the 90 % interval of the area: {shares}", flush=True)
    figures["area_coverage_90"] = coverage["all"]["covered"]
    figures |= beside_geopandas(50_000)
    figures |= growth(SIZES[:3] if options.quick else SIZES)
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, shapely {shapely.__version__}"
        print(json.dumps({"benchmark": "track", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
