"""What a page is told, and what it says: everything but the network."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.active.page.agreed import Agreed
from geoseg.active.page.pictures import COMPOSITIONS, picture, shown_images, shown_masks
from geoseg.active.project import UNKNOWN
from geoseg.active.record import polygon_of
from geoseg.errors import ConfigError, DataError, LabelError
from geoseg.page.missing import NotThereError
from geoseg.page.pictures import png_bytes
from geoseg.presence.packs import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geoseg.active.page.pictures import ShownImage, Stretches
    from geoseg.active.project import Answer, Outline, Project, Proposed
    from geoseg.chips import Place
    from geoseg.presence.packs import PlaceFinder, Spot

__all__ = ["Desk"]

# Okabe and Ito 2008: told apart by everyone, on images too; then again from the start.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#999999")
_AHEAD = 6  # places that a page is told of at once
_BACK = 40  # answers that it may look back on
_KEPT = 16  # places in memory


class Desk:
    """A project and the pack of its places, for one page or several.

    Places are told of by numbers: 0 for the first that was ever proposed, and so on, so that they
    stay the same while rounds are added. Of a place nobody is told what the model, others or a mask
    of the pack say, nor why it was proposed, before he has answered it.
    """

    def __init__(
        self,
        project: Project,
        finder: PlaceFinder,
        link: Callable[[float, float], str | None],
        *,
        number: int | None = None,
        annotator: str = "",
    ) -> None:
        """A desk.

        Args:
            project: that is labelled.
            finder: of the pack.
            link: the address of a map of (lon, lat) in degrees; None where there is none.
            number: of the only round that is asked for; all are when None.
            annotator: who sits at it; everybody is asked for his name when empty.

        Raises:
            ConfigError: nothing has been proposed, or not in that round.
            DataError: a place was proposed that the pack lacks.
        """
        self.project, self.number, self.annotator = project, number, annotator
        self._link = link
        self._finder = finder
        self._items: list[str] = []
        self._places: dict[str, int] = {}
        self._spots: dict[str, Spot] = {}
        self._asked: dict[str, Proposed] = {}
        self._agreed = Agreed(project.classes)
        self._kept: OrderedDict[int, Place | Problem] = OrderedDict()
        self._stretches: dict[int, Stretches] = {}
        self._turn = threading.Lock()
        # In the address of each picture: browsers keep those, and may meet another project here.
        both = f"{project.key} {finder.pack.digest}"
        self.edition = hashlib.sha256(both.encode()).hexdigest()[:16]
        self._take_rounds()
        if not self._asked:
            where = "" if number is None else f" in round {number}"
            raise ConfigError(
                f"Nothing has been proposed{where} in {project.folder}; run "
                f"`geoseg active propose {project.folder}`."
            )

    def about(self) -> dict[str, Any]:
        """What holds for all places."""
        return {
            "project": self.project.key,
            "name": self.project.folder.resolve().name,
            "classes": list(self.project.classes),
            "unknown": UNKNOWN,
            "colours": {
                name: _COLOURS[number % len(_COLOURS)]
                for number, name in enumerate(self.project.classes)
            },
            "compositions": COMPOSITIONS,
            "annotator": self.annotator,
            "edition": self.edition,
        }

    def queue(self, annotator: str) -> dict[str, Any]:
        """What a person is to look at next, what he answered last, and how far all are."""
        self._take_rounds()
        answers = [one for one in self.project.answers() if one.item in self._asked]
        waiting = [one for one in self.project.waiting(annotator) if self._is_asked(one)]
        own = [one for one in answers if one.annotator == annotator][-_BACK:]
        looked_at = {one.item for one in own}
        near = [one for one in answers if one.item in looked_at]
        return {
            "places": [self._shown(one.item) for one in waiting[:_AHEAD]],
            "before": [self._told(one, near) for one in reversed(own)],
            "progress": {
                "places": len(self._asked),
                "answered": len(self._asked) - len(waiting),
                "by_anyone": len({one.item for one in answers}),
                "annotators": len({one.annotator for one in answers}),
            },
            "agreement": self._agreed.of(annotator, self._first_answers),
        }

    def _first_answers(self) -> list[Answer]:
        """What people said of places before they were told more."""
        return [one for one in self.project.first_answers() if one.item in self._asked]

    def place(self, number: int, annotator: str) -> dict[str, Any]:
        """A place with its outlines, and what is told of it once the person has answered.

        Raises:
            NotThereError: no place of that number.
        """
        item = self._item(number)
        answers = self.project.answers(item)
        own = next((one for one in answers if one.annotator == annotator), None)
        outlines = [
            _drawn(one)
            for one in self.project.outlines(item)
            if own is not None or one.annotator == annotator
        ]
        return {
            **self._shown(item),
            "told": None if own is None else self._told(own, answers),
            "outlines": outlines,
            "masks": [] if own is None else self._masks(number),
        }

    def answer(self, number: int, annotator: str, said: str, sent: str) -> dict[str, Any]:
        """Take an answer; when this returns it is on disk. What is told of the place then.

        Raises:
            NotThereError: no place of that number.
            ConfigError: no class of the project, or no name of a person.
            OutputError: it could not be written.
        """
        item = self._item(number)
        made = self.project.record(item, annotator, said, via="page", sent=sent)
        answers = self.project.answers(item)
        own = next((one for one in answers if one.number == made), None)
        return {"number": made, "told": None if own is None else self._told(own, answers)}

    def undo(self, annotator: str, number: int) -> dict[str, Any]:
        """Take back an answer of a person; the place that it was about, or none.

        Raises:
            OutputError: it could not be written.
        """
        item = self.project.undo(annotator, number)
        return {"place": self._shown(item) if item in self._places else None}

    def draw(
        self, number: int, annotator: str, drawn: Mapping[str, Any], sent: str
    ) -> dict[str, Any]:
        """Take an outline: class, image, geometry in pixels, and which it stands instead of.

        Raises:
            NotThereError: no place of that number.
            ConfigError: no class of the project, no image, or no name of a person.
            LabelError: no polygon, or one that has no area or crosses itself.
            OutputError: it could not be written.
        """
        place = self._place(number)
        image, instead = drawn.get("image"), drawn.get("instead")
        shown = [] if isinstance(place, Problem) else shown_images(place)
        if type(image) is not int or image not in range(len(shown)):  # True is no number
            raise ConfigError(f"The place has no image {image!r}; draw on one that is shown.")
        made = self.project.record_outline(
            self._item(number),
            annotator,
            str(drawn.get("class")),
            _within(drawn.get("geometry"), shown[image]),
            image,
            sent=sent,
            instead=instead if type(instead) is int else None,
        )
        return {"number": made}

    def erase(self, annotator: str, number: int) -> dict[str, Any]:
        """Take back an outline of a person.

        Raises:
            OutputError: it could not be written.
        """
        return {"erased": self.project.undo_outline(annotator, number) is not None}

    def point(self, number: int) -> dict[str, Any]:
        """Where a place lies, as GeoJSON, which QGIS opens.

        Raises:
            NotThereError: no place of that number, or nobody knows where it lies.
        """
        place = self._place(number)
        if isinstance(place, Problem) or not math.isfinite(place.lon + place.lat):
            raise NotThereError
        return {
            "type": "Feature",
            "properties": {"item": place.id, "project": self.project.key},
            "geometry": {"type": "Point", "coordinates": [place.lon, place.lat]},
        }

    def picture(self, number: int, image: int, composition: str) -> bytes:
        """A picture of a place as PNG.

        Raises:
            NotThereError: no place of that number, no such image, or not in that composition.
        """
        place = self._place(number)
        if isinstance(place, Problem) or image not in range(len(place.images)):
            raise NotThereError
        if composition not in shown_images(place)[image].compositions:
            raise NotThereError
        with self._turn:
            # Of a place that is let go again in between, nobody would remove them.
            kept = number in self._kept
            stretches = self._stretches.setdefault(number, {}) if kept else {}
        return png_bytes(picture(place, image, composition, stretches))

    def _take_rounds(self) -> None:
        """Learn of what has been proposed since."""
        proposed = self.project.proposed()
        with self._turn:
            fresh = list(dict.fromkeys(p.item for p in proposed if p.item not in self._places))
            found = self._finder.spots(fresh) if fresh else {}
            if lacking := [item for item in fresh if item not in found]:
                raise DataError(
                    f"{self._finder.pack.folder} lacks {len(lacking)} of {len(fresh)} places that "
                    f"were proposed, {lacking[0]!r} among them; give --pack the one that the pool "
                    "was made of."
                )
            self._spots |= found
            for item in fresh:
                self._places[item] = len(self._items)
                self._items.append(item)
            # Whole at once: other threads read it while this one learns.
            asked: dict[str, Proposed] = {}
            for one in proposed:
                if self._is_asked(one):
                    asked.setdefault(one.item, one)
            self._asked = asked

    def _is_asked(self, one: Proposed) -> bool:
        return self.number in {None, one.round}

    def _item(self, number: int) -> str:
        if number not in range(len(self._items)):
            raise NotThereError
        return self._items[number]

    def _place(self, number: int) -> Place | Problem:
        item = self._item(number)
        with self._turn:
            if number not in self._kept:
                self._kept[number] = self._finder.read(self._spots[item])
                if len(self._kept) > _KEPT:
                    gone, _ = self._kept.popitem(last=False)
                    self._stretches.pop(gone, None)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _shown(self, item: str) -> dict[str, Any]:
        number = self._places[item]
        place = self._place(number)
        told: dict[str, Any] = {"number": number, "id": item, "problem": None}
        if isinstance(place, Problem):
            where = dict.fromkeys(("lon", "lat", "map"))
            return {**told, **where, "images": [], "problem": place.reason}
        images = [one._asdict() for one in shown_images(place)]
        where = {"lon": place.lon, "lat": place.lat, "map": self._link(place.lon, place.lat)}
        return {**told, **where, "images": images}

    def _masks(self, number: int) -> list[dict[str, Any]]:
        """Masks that came with a place, by class, or by number where nobody knows which it is."""
        place = self._place(number)
        if isinstance(place, Problem):
            return []
        found = [
            (id_, image, geometry)
            for image, chip in enumerate(place.images)
            for id_, geometry in shown_masks(chip)
        ]
        # A pack says nothing of what its numbers mean, but 1 beside 0 is what is present.
        classes = self.project.classes
        known = {1: classes[1]} if len(classes) == 2 and {id_ for id_, *_ in found} == {1} else {}
        return [
            {"class": known.get(id_, str(id_)), "image": image, "geometry": geometry}
            for id_, image, geometry in found
        ]

    def _told(self, own: Answer, answers: list[Answer]) -> dict[str, Any]:
        """What is told of a place when it was answered."""
        asked = self._asked.get(own.item)
        return {
            "place": self._places.get(own.item),
            "id": own.item,
            "number": own.number,
            "said": own.said,
            "probability": None if asked is None else asked.probability,
            "why": "" if asked is None else asked.why,
            "others": [
                {"annotator": one.annotator, "said": one.said}
                for one in answers
                if one.item == own.item and one.annotator != own.annotator
            ],
        }


def _within(geometry: object, image: ShownImage) -> dict[str, Any]:
    """A polygon that lies in an image."""
    if not isinstance(geometry, dict):
        raise LabelError("The outline is no GeoJSON polygon; draw it again.")
    polygon = polygon_of(geometry)
    left, top, right, bottom = shapely.geometry.shape(polygon).bounds
    if left < 0 or top < 0 or right > image.width or bottom > image.height:
        raise LabelError(
            f"The outline leaves its image of {image.width} x {image.height} px; draw it again."
        )
    return polygon


def _drawn(outline: Outline) -> dict[str, Any]:
    return {
        "number": outline.number,
        "annotator": outline.annotator,
        "class": outline.class_,
        "image": outline.image,
        "geometry": outline.geometry,
    }
