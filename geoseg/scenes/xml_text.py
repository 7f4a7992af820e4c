"""Metadata in XML, of whatever origin: no entity is expanded and nothing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from geoseg.errors import SceneError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["number_in", "parse_xml", "text_in"]


def parse_xml(text: str | bytes, name: str) -> Element:
    """The root of a document.

    Args:
        text: of the document.
        name: of the file, for messages.

    Raises:
        SceneError: it is no XML, or declares a document type or an entity.
    """
    try:
        content = text.encode() if isinstance(text, str) else text
        root: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SceneError(
            f"{name} declares a type or an entity, which no product does; fetch it again."
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{name} is no XML that can be read ({error}); fetch it again.") from error
    return root


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
