"""The documentation is true: its code runs, its links lead somewhere, and the program's links lead into it."""

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tutorial_runs_as_it_is_written():
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    code = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)  # a fence would count as output
    example = doctest.DocTestParser().get_doctest(code, {}, "tutorial.md", "docs/tutorial.md", 0)
    out = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=out.append)
    assert results.attempted > 30
    assert results.failed == 0, "".join(out)
