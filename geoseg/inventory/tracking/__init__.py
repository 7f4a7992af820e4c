"""Outlines linked into tracks through time."""

from geoseg.inventory.tracking.step import FREE, Event, Sighting
from geoseg.inventory.tracking.track import ABSENT, PRESENT, UNKNOWN, Linked, link_sightings

__all__ = [
    "ABSENT",
    "FREE",
    "PRESENT",
    "UNKNOWN",
    "Event",
    "Linked",
    "Sighting",
    "link_sightings",
]
