"""Outlines linked into tracks through time."""

from geoseg.inventory.tracking.links import Links, best_matches, find_links, shared_areas_m2
from geoseg.inventory.tracking.step import FREE, Event, Sighting, mostly_seen
from geoseg.inventory.tracking.track import ABSENT, PRESENT, UNKNOWN, Linked, link_sightings

__all__ = [
    "ABSENT",
    "FREE",
    "PRESENT",
    "UNKNOWN",
    "Event",
    "Linked",
    "Links",
    "Sighting",
    "best_matches",
    "find_links",
    "link_sightings",
    "mostly_seen",
    "shared_areas_m2",
]
