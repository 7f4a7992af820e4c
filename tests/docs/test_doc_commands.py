"""The runner of the commands of docs/, and whether all of these are run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg import cli

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from run_commands import CommandError, commands_of, read_blocks, run_pages  # noqa: E402

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("recipes/*/README.md"),
    )
)
_EXAMPLE = re.compile(r"^Example: (.*?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)


def blocks_of(page):
    return list(read_blocks((ROOT / page).read_text(), page))


def page(folder, text):
    path = folder / "page.md"
    path.write_text(text)
    return path


def run(folder, text):
    return run_pages([page(folder, text)], folder, folder)


def leaves(group, name):
    for below, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{name} {below}")
        else:
            yield f"{name} {below}", command


def parse(words):
    """Parse a command line of geoseg without running it."""
    command = cli._command()
    assert words[0] == "geoseg"
    rest = [word for word in words[1:] if word not in ("--help", "--debug")]
    while hasattr(command, "commands") and rest:
        command, *rest = command.commands[rest[0]], *rest[1:]
    if rest or rest == words[1:]:
        command.make_context(" ".join(words), rest)


def test_lines_that_go_on_are_one_command_and_comments_are_none():
    text = "\n\nText\n\n    # first\n    echo one \\\n        two   # said\n\n    echo 'a # b'\n"

    (block,) = read_blocks(text, "p.md")

    assert [(c.line, shlex.split(c.text, comments=True)) for c in commands_of(block)] == [
        (6, ["echo", "one", "two"]),
        (9, ["echo", "a # b"]),
    ]


def test_a_quotation_goes_over_lines_and_ends():
    (block,) = read_blocks("    echo 'a\n      b' c\n    true\n", "p.md")
    assert [c.text for c in commands_of(block)] == ["echo 'a\nb' c", "true"]

    (open_end,) = read_blocks("    true\n    echo 'a\n", "p.md")
    with pytest.raises(CommandError, match=r"p\.md:2: a command that does not end"):
        list(commands_of(open_end))


def test_commands_are_run_in_order_in_one_folder(tmp_path):
    run(tmp_path, "    echo a > f\n    echo b >> f\n\nText\n\n```sh\ncp f g\n```\n")

    assert (tmp_path / "g").read_text() == "a\nb\n"


def test_a_file_with_a_title_is_written_and_python_is_run(tmp_path):
    text = '```yaml title="in/a.yaml"\nkey: 1\n```\n\n```python\nopen("b", "w").write("x")\n```\n'

    run(tmp_path, text)

    assert (tmp_path / "in/a.yaml").read_text() == "key: 1\n"
    assert (tmp_path / "b").read_text() == "x"


def test_other_languages_are_not_run(tmp_path):
    assert run(tmp_path, "```yaml\nfalse\n```\n\n```text\nfalse\n```\n") == []


def test_the_first_failure_is_told_with_its_page_and_line_and_ends_the_run(tmp_path):
    with pytest.raises(CommandError, match=r"page\.md:4: exit code 3: \(echo why; exit 3\)\nwhy"):
        run(tmp_path, "Text\n\n    true\n    (echo why; exit 3)\n    touch later\n")

    assert not (tmp_path / "later").exists()


def test_a_pipe_that_fails_at_its_begin_fails(tmp_path):
    with pytest.raises(CommandError, match="exit code 1"):
        run(tmp_path, "    false | cat\n")


def test_python_that_fails_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"page\.md:2: exit code 1"):
        run(tmp_path, "```python\nraise ValueError\n```\n")


def test_a_block_with_a_reason_is_left_out_and_told(tmp_path):
    text = "<!-- not run: needs Slurm -->\n\n    false\n\nText\n\n    touch f\n"

    assert run(tmp_path, text) == ["page.md:3: needs Slurm"]
    assert (tmp_path / "f").exists()


def test_a_comment_holds_for_the_next_block_only_where_nothing_lies_between():
    first, second = read_blocks(
        "<!-- not run: a -->\n\nText\n\n    one\n\n<!-- not run: b -->\n\n    two\n", "p.md"
    )

    assert (first.reason, second.reason) == (None, "b")


def test_a_block_that_needs_a_variable_is_run_where_it_is_set(tmp_path, monkeypatch):
    text = "<!-- needs SOME_DATA -->\n<!-- run with: --more -->\n\n    echo >f it   # why\n"
    monkeypatch.delenv("SOME_DATA", raising=False)
    assert run(tmp_path, text) == ["page.md:4: needs SOME_DATA"]

    monkeypatch.setenv("SOME_DATA", "x")

    assert run(tmp_path, text) == []
    assert (tmp_path / "f").read_text() == "it --more\n"


def test_what_a_reader_has_is_made_before_a_block(tmp_path):
    text = (
        "<!-- first:\necho it > own\npython - <<END\nopen('more', 'w')\nEND\n-->\n\n    cp own f\n"
    )

    run(tmp_path, text)

    assert (tmp_path / "f").read_text() == "it\n"
    assert (tmp_path / "more").exists()


def test_the_installation_of_geoseg_is_left_out_and_no_other(tmp_path):
    assert run(tmp_path, "    pip install .   # here is no package\n    touch f\n") == []

    assert (tmp_path / "f").exists()
    with pytest.raises(CommandError, match="no-such-package"):
        run(tmp_path, "    pip install ./no-such-package\n")


def test_a_command_of_another_page_is_not_run_again(tmp_path):
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text("    echo a >> f\n    echo a >> f\n")
    other.write_text("    echo   a >> f   # likewise\n    echo b >> f\n")

    run_pages([one, other], tmp_path, tmp_path)

    assert (tmp_path / "f").read_text() == "a\na\nb\n"


def pages_run():
    """The pages that `make doc-commands` runs."""
    shown = subprocess.run(
        ["make", "-n", "doc-commands"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (line,) = [line for line in shown.splitlines() if "run_commands.py" in line]
    return [word for word in shlex.split(line) if word.endswith(".md")]


def test_every_block_is_run_or_says_why_not():
    run = set(pages_run())

    left = [
        f"{block.page}:{block.line}"
        for name in PAGES
        for block in blocks_of(name)
        if block.is_run and block.reason is None and name not in run
    ]

    assert left == []
    assert re.search(r"make .*\bdoc-commands\b", (ROOT / ".ci" / "run").read_text())


def test_pages_that_are_run_are_there():
    assert set(pages_run()) <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_a_page_parse(name):
    for block in blocks_of(name):
        for command in commands_of(block) if block.is_shell else ():
            words = shlex.split(command.text, comments=True)
            if words[0] == "geoseg" and words[1] != "snow-line":  # made by a page
                try:
                    parse(words)
                except Exception as error:
                    raise AssertionError(f"{name}:{command.line}: {error}") from error


def test_a_wrong_option_and_a_wrong_command_do_not_parse():
    with pytest.raises(Exception, match="--pacc"):
        parse(["geoseg", "active", "init", "out", "--pacc", "x"])
    with pytest.raises(KeyError, match="serf"):
        parse(["geoseg", "active", "serf"])
    with pytest.raises(Exception, match="out"):
        parse(["geoseg", "export", "a.gpkg", "--survey", "2015"])


def test_examples_in_the_help_parse_and_each_command_has_one():
    for name, command in leaves(cli._command(), "geoseg"):
        examples = _EXAMPLE.findall(command.help)
        assert examples, f"{name} has no example"
        for example in examples:
            parse(shlex.split(" ".join(example.split()).replace("...", "")))
