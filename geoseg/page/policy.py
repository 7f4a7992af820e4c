"""What a browser may do with a page of geoseg: its content security policy.

Content Security Policy Level 3 (W3C); none of the pages asks another host for anything.
"""

from __future__ import annotations

__all__ = ["SERVED", "WRITTEN"]

_ALWAYS = "base-uri 'none'; form-action 'none'; object-src 'none'"

# Of a page that is a file and holds all it shows; a page with a script adds its hash.
WRITTEN = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; {_ALWAYS}"
# A page that is a file cannot say who may frame it: browsers heed that in a header alone.
SERVED = f"default-src 'self'; {_ALWAYS}; frame-ancestors 'none'"
