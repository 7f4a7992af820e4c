"""Whatever is read from outside ends in a value or in one sentence, and soon."""

import re
import signal
from contextlib import contextmanager, suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsers import PARSERS

from geoseg.errors import GeosegError

SOON_S = 30  # of a processor: what hangs or grows without end takes longer, all else a thousandth
# What a number, a name or a value of JSON may be replaced by.
NASTY = [
    b"",
    b"-1",
    b"0",
    b"0.5",
    b"1e999",
    b"-1e999",
    b"nan",
    b"NaN",
    b"Infinity",
    b"9" * 5000,
    b"99999999999999999999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"a"',
    b"[null]",
    b'{"a": []}',
    b"[[[1]]]",
    b"[" * 2000,
    b"(" * 200,
    b"9999-12-31",
    b"0001-01-01T00:00:00+14:00",
    b"../../../etc/passwd",
    b"/etc/passwd",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\u0661\u00b2\u2028\U0001f600".encode(),
    b"%s%n",
    b"\n",
    b"<a>&b;</a>",
]
TOKEN = re.compile(rb'"[^"\n]{0,99}"|(?<=>)[^<>]+(?=<)|[\w.+-]+|[\[\]{}:,]')


@contextmanager
def soon():
    """Fail what does not come back."""

    def tell(*_):
        raise AssertionError(f"it takes more than {SOON_S} s")

    before = signal.signal(signal.SIGPROF, tell)
    signal.setitimer(signal.ITIMER_PROF, SOON_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@cache
def seeds_of(name):
    return PARSERS[name].seeds()


@st.composite
def altered(draw, seeds):
    """A good file, of which some words are others, or some bytes are gone or more."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        tokens = [found.span() for found in TOKEN.finditer(content)]
        if tokens and draw(st.booleans()):
            start, end = draw(st.sampled_from(tokens))
            new = draw(st.sampled_from(NASTY))
        else:
            start = draw(st.integers(0, len(content)))
            end = start + draw(st.integers(0, 40))
            new = draw(st.binary(max_size=8))
        content = content[:start] + new + content[end:]
    return content


def read(name, content, folder):
    """Read what may be anything; a GeosegError of one sentence is an answer."""
    with soon(), suppress(GeosegError):
        PARSERS[name].read(content, folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: tmp_path_factory.mktemp(name) for name in PARSERS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARSERS)
def test_a_good_file_is_read_or_refused(folders, name):
    for content in seeds_of(name):
        read(name, content, folders[name])


DIGITS, DEEP = "9" * 5000, "[" * 100_000
# What was found so, and ended in a traceback: a parser, what of its first seeds, and what instead.
FOUND = [
    ("mtl", "65535", "much"),
    ("sentinel-2-radiometry", "-1000<", "low<"),
    ("sentinel-2-radiometry", "05.09", f"{DIGITS}.9"),
    ("sentinel-2", "2020-09-09T06:50:31.024Z", "9999-12-31T23:59:59.999999Z"),
    ("sentinel-2", "2020-09-09T06:50:31.024Z", "0001-01-01T00:00:00+14:00"),
    ("sentinel-2", "GRANULE/a", f"GRANULE/{'a' * 5000}"),
    ("dimap", "<BAND_INDEX>1<", "<BAND_INDEX>1e999<"),
    ("stac-item", '"sentinel-2"', '{"a": 1}'),
    ("stac-item", '"nodata": 0', '"nodata": "none"'),
    ("stac-item", '"2019-08-14T10:00:00Z"', '"9999-12-31T23:59:59.999999Z"'),
    ("labels-geojson", "[7.0, 46.0]", "[7.5, 46.5]"),
    ("labels-geojson", '"ice"', '"\udcff"'),
    ("labels-geojson", "2000-10-30", "-2000-10-30"),
    ("drawn", "[7.0, 46.0]", "[7.5, 46.5]"),
    ("area", "[7.0, 46.0]", "[7.5, 46.5]"),
    ("area", "7.1, 46.0", "1e999, 46.0"),
    ("area", "7.0, 46.0", "7.0, 46, 0"),
    ("places-geojson", "[7.0, 46.0]", "[7.5, 46.5]"),
    ("places-geojson", "[[[7.0, 46.0]", "[[]], 1, [[[7.0, 46.0]"),
    ("slurm", '"16GB"', DEEP),
    ("slurm", '"threads": 2', f'"threads": {DIGITS}'),
    ("slurm", "04:00:00", DIGITS),
    ("checkpoint-header", '"unet"', DEEP),
    ("checkpoint-header", '"tu-test_resnet"', "7"),
    ("classifier-header", '"output_stride": 32', '"output_stride": 7'),
    ("classifier-header", "{", "[{"),
    ("manifest", "unit", "\udc88nit"),
    ("project", "about", "\udcedbout"),
    ("inventory", "gpkg_contents", "gpkg_\udcedontents"),
    ("place", '"a"', DEEP),
    ("chip-labels-parquet", "7ImluZGV4", "7ImluZGV0"),  # {"index of pandas, in base64: {"indet
    ("shard-parquet", "present", "\udc9bresent"),
    ("npy", "}", "("),
    ("histogram", "}", "("),
    ("cube", '"chunks": [3]', '"chunks": [0.5]'),
    ("cube", '"chunks": [3]', '"chunks": [0]'),
    ("cube", '"zstd"', '"pickle"'),
    ("checksums", "a.tif", "\udced.tif"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "old", "new"), FOUND, ids=[f"{n}-{o}"[:40] for n, o, _ in FOUND])
def test_what_was_found_is_answered(folders, name, old, new):
    old, new = (text.encode("utf-8", "surrogateescape") for text in (old, new))
    altered = [seed.replace(old, new) for seed in seeds_of(name) if old in seed]

    assert altered
    for content in altered:
        read(name, content, folders[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARSERS)
@settings(derandomize=True)  # what others find is looked for by `make fuzz`
@given(data=st.data())
def test_anything_ends_in_a_value_or_in_one_sentence(folders, name, data):
    content = data.draw(st.one_of(st.binary(max_size=300), altered(seeds_of(name))))

    read(name, content, folders[name])
