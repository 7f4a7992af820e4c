"""Metadata in XML, of whatever origin: no entity is expanded and nothing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

from geoseg.errors import SceneError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["number_in", "parse_xml", "text_in"]

_LONGEST_BYTES = 64 * 2**20


def parse_xml(text: str, name: str) -> Element:
    """The root of a document, its tags without namespaces.

    Args:
        text: of the document.
        name: of the file, for messages.

    Raises:
        SceneError: it is no XML, declares an entity, or is longer than 64 MiB.
    """
    if len(text) > _LONGEST_BYTES:
        raise SceneError(f"{name} is longer than 64 MiB; that is no metadata of a scene.")
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, known: builder.start(_bare(tag), known)
    parser.EndElementHandler = lambda tag: builder.end(_bare(tag))
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise SceneError(f"{name} declares an XML entity, which no product does; fetch it again.")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode(), True)
        return builder.close()
    except expat.ExpatError as error:
        raise SceneError(f"{name} is no XML that can be read ({error}); fetch it again.") from error


def text_in(element: Element, path: str) -> str | None:
    """What the first element of a path says; None where there is none or it says nothing."""
    found = element.findtext(path)
    return found.strip() or None if found is not None else None


def number_in(element: Element, path: str, name: str) -> float | None:
    """The number that the first element of a path holds; None where there is none.

    Raises:
        SceneError: it holds something else.
    """
    found = text_in(element, path)
    if found is None:
        return None
    try:
        return float(found)
    except ValueError as error:
        raise SceneError(
            f"{name} gives {path.rpartition('/')[2]} = {found!r}, which is no number; fetch it "
            "again."
        ) from error


def _bare(tag: str) -> str:
    return tag.rpartition(":")[2]
