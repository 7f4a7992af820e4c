"""Ice masses cut into glaciers along the divides of a reference inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.errors import GridError, LabelError
from geoseg.inventory.attributes.borders import Borders, borders_of, components, unions
from geoseg.inventory.attributes.glaciers import GLACIER_SURFACES, IMAGE_SHARES, shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["split_by_divides"]

_REF_IDS = ("ref_id", "rgi_id", "rgiid", "glims_id", "glimsid", "glac_id")
_REF_NAMES = ("glac_name", "glacname", "name")


def split_by_divides(
    glaciers: gpd.GeoDataFrame,
    divides: gpd.GeoDataFrame,
    *,
    surface: gpd.GeoDataFrame | None,
    min_area_m2: float = 10_000.0,
) -> gpd.GeoDataFrame:
    """Ice masses cut where glaciers of a reference inventory meet; no ice is lost or added.

    Ice outside of every reference glacier goes with the ice that it has the longest border with, as
    a margin that has moved is not a divide. An ice mass on one reference glacier stays whole, and
    one on none stays as it is, without an id.

    Args:
        glaciers: as by `glaciers_of`.
        divides: outlines of a reference inventory in any CRS; ids and names are looked for in the
            columns of RGI 6, RGI 7 and GLIMS.
        surface: what the glaciers are made of, for the shares and the probability of what is cut;
            where it is None, these are NaN.
        min_area_m2: smaller pieces of a mass go to their neighbour, as where a divide does not
            quite meet a margin. 0.01 km2 is the smallest glacier of RGI 7.

    Returns:
        The columns as before, and ref_id and glac_name, empty where there is none. The pieces of
        one mass on one reference glacier are one outline, whose `parts` may be several.

    Raises:
        GridError: the divides have no CRS.
        LabelError: the divides have no column of ids.
    """
    references = _references(divides, glaciers)
    outlines, masses = references.geometry.to_numpy(), glaciers.geometry.to_numpy()
    mass, reference = shapely.STRtree(outlines).query(masses, predicate="intersects")
    order = np.lexsort((reference, mass))
    ends = np.searchsorted(mass[order], np.arange(len(masses) + 1))
    reference = reference[order]
    # Uncut, on the only reference glacier that it touches, or on none.
    single = np.flatnonzero(np.diff(ends) < 2)
    owner = np.append(reference, -1)[np.where(np.diff(ends) == 1, ends[:-1], -1)]
    rows, owners, pieces = [single], [owner[single]], [masses[single]]
    for row in np.flatnonzero(np.diff(ends) > 1):
        near = reference[ends[row] : ends[row + 1]]
        found, parts = _cut(masses[row], outlines[near], min_area_m2)
        rows.append(np.full(len(parts), row))
        owners.append(np.append(near, -1)[found])
        pieces.append(parts)
    return _split(
        glaciers,
        np.concatenate(rows),
        np.concatenate(pieces),
        references=references,
        owner=np.concatenate(owners),
        surface=surface,
    )


def _split(
    glaciers: gpd.GeoDataFrame,
    row: NDArray[np.intp],
    pieces: NDArray[np.object_],
    *,
    references: gpd.GeoDataFrame,
    owner: NDArray[np.intp],
    surface: gpd.GeoDataFrame | None,
) -> gpd.GeoDataFrame:
    """The pieces (G,) with the columns of the rows that they were cut from, in their order."""
    order = np.argsort(row, kind="stable")
    row, pieces, owner = row[order], pieces[order], owner[order]
    split = glaciers.iloc[row].reset_index(drop=True).set_geometry(pieces, crs=glaciers.crs)
    split["parts"] = shapely.get_num_geometries(pieces)
    for column in ("ref_id", "glac_name"):
        values = np.append(references[column].to_numpy(dtype=object), np.array([None]))
        split[column] = values[owner]
    cut = np.flatnonzero(np.bincount(row, minlength=len(glaciers))[row] > 1)
    unknown = {c: np.full(len(cut), np.nan) for c in IMAGE_SHARES if c in glaciers.columns}
    for column, values in (unknown | _shares_of(pieces[cut], surface)).items():
        split.loc[cut, column] = values
    return split


def _shares_of(
    pieces: NDArray[np.object_], surface: gpd.GeoDataFrame | None
) -> dict[str, NDArray[np.generic]]:
    """What of the surface lies in each of some pieces (G,)."""
    if surface is None:
        unknown = np.full(len(pieces), np.nan)
        return dict.fromkeys(("debris_share", "pond_share", "probability"), unknown)
    made_of = surface[np.isin(surface["class_name"], list(GLACIER_SURFACES))]
    members = made_of.geometry.to_numpy()
    piece, member = shapely.STRtree(members).query(pieces, predicate="intersects")
    area_m2 = shapely.area(shapely.intersection(pieces[piece], members[member]))
    inside = area_m2 > 0
    return shares(made_of.iloc[member[inside]], piece[inside], area_m2[inside], count=len(pieces))


def _references(divides: gpd.GeoDataFrame, glaciers: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The reference glaciers with ref_id and glac_name, mended, in the CRS of the glaciers."""
    if divides.crs is None:
        raise GridError(
            "The divides have no coordinate reference system; set it with "
            "`ogr2ogr -a_srs EPSG:...`."
        )
    columns = {str(column).lower(): column for column in divides.columns}
    ids = next((columns[name] for name in _REF_IDS if name in columns), None)
    if ids is None:
        known = ", ".join(str(c) for c in divides.columns if c != divides.geometry.name)
        raise LabelError(
            f"The divides have no column of ids ({', '.join(_REF_IDS)}), only {known or 'none'}; "
            "give outlines of RGI or GLIMS."
        )
    names = next((columns[name] for name in _REF_NAMES if name in columns), None)
    placed = divides.geometry.to_crs(glaciers.crs).to_numpy()
    # By structure, so that what is mended stays an area.
    mended = shapely.make_valid(placed, method="structure", keep_collapsed=False)
    return gpd.GeoDataFrame(
        {
            "ref_id": _texts(divides[ids]),
            "glac_name": None if names is None else _texts(divides[names]),
        },
        geometry=mended,
        crs=glaciers.crs,
    )


def _texts(column: pd.Series) -> NDArray[np.object_]:
    """As text, None where there is nothing."""
    texts = np.full(len(column), None, dtype=object)
    for i, value in enumerate(column):
        if not pd.isna(value) and str(value).strip():
            texts[i] = str(value)
    return texts


def _cut(
    mass: shapely.Polygon, references: NDArray[np.object_], min_area_m2: float
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """The reference glacier of each piece (G,) of an ice mass, -1 where none, and the pieces."""
    faces = _faces(mass, references)
    face, reference = shapely.STRtree(references).query(
        shapely.point_on_surface(faces), predicate="within"
    )
    none = len(references)
    owner = np.full(len(faces), none)
    # Where reference glaciers overlap, the first of them has the ice.
    np.minimum.at(owner, face, reference)
    if (owner < none).any():
        borders = borders_of(faces)
        owner = _with_margins(np.where(owner == none, -1, owner), borders)
        owner = _without_splinters(owner, borders, shapely.area(faces), min_area_m2)
    found, group = np.unique(owner, return_inverse=True)
    if len(found) == 1:
        return np.where(found == none, -1, found), np.array([mass], dtype=object)
    return found, unions(faces, group)


def _faces(mass: shapely.Polygon, references: NDArray[np.object_]) -> NDArray[np.object_]:
    """An ice mass in pieces (F,) that have the same corners along the borders between them."""
    lines = shapely.union_all([mass.boundary, *shapely.boundary(references)])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    inside = shapely.STRtree(shapely.point_on_surface(faces)).query(mass, predicate="contains")
    return np.asarray(faces[np.sort(inside)], dtype=object)


def _with_margins(owner: NDArray[np.intp], borders: Borders) -> NDArray[np.intp]:
    """Owners of faces (F,) where those of none, -1, go to the one they touch most, in turn."""
    owner = owner.copy()
    face = np.arange(len(owner))
    while (owner < 0).any():
        wanting, taken = _touched_most(face, owner, borders, wanting=owner < 0, giving=owner >= 0)
        if not len(wanting):
            # A part of a mass of several parts that touches none: to the one of most faces.
            owner[owner < 0] = np.bincount(owner[owner >= 0]).argmax()
        owner[wanting] = taken
    return owner


def _without_splinters(
    owner: NDArray[np.intp], borders: Borders, area_m2: NDArray[np.float64], min_area_m2: float
) -> NDArray[np.intp]:
    """Owners of faces (F,) where a connected piece that is too small goes to its neighbour."""
    owner = owner.copy()
    while True:
        alike = owner[borders.first] == owner[borders.second]
        piece = components(len(owner), borders.first[alike], borders.second[alike])
        size = np.bincount(piece, area_m2)
        meeting = np.union1d(piece[borders.first[~alike]], piece[borders.second[~alike]])
        small = meeting[size[meeting] < min_area_m2]
        if not len(small):
            return owner
        # The smallest first: what it joins may be large enough with it.
        wanting = piece == small[np.argmin(size[small])]
        _, taken = _touched_most(piece, owner, borders, wanting=wanting, giving=~wanting)
        owner[wanting] = taken


def _touched_most(
    piece: NDArray[np.intp],
    owner: NDArray[np.intp],
    borders: Borders,
    *,
    wanting: NDArray[np.bool_],
    giving: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pieces (P,) that want an owner, and the owner that each has the longest border with.

    Args:
        piece: (F,) that a face belongs to.
        owner: (F,) of a face.
        borders: between faces.
        wanting: (F,) whether it wants an owner.
        giving: (F,) whether its owner may be taken.
    """
    one, other, length = (
        np.concatenate(both) for both in zip(borders, _turned(borders), strict=True)
    )
    asked = wanting[one] & giving[other]
    pairs = np.stack([piece[one[asked]], owner[other[asked]]], axis=1)
    pairs, pair = np.unique(pairs, axis=0, return_inverse=True)
    total = np.bincount(pair, length[asked], len(pairs))
    order = np.lexsort((total, pairs[:, 0]))
    last = np.diff(pairs[order, 0], append=-1) != 0
    return pairs[order[last], 0], pairs[order[last], 1]


def _turned(borders: Borders) -> Borders:
    return Borders(borders.second, borders.first, borders.length)
