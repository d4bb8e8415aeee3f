"""Plain English: the worst idioms stay out of help texts, errors, docstrings, docs and result pages."""

import ast
import re
from pathlib import Path

import pytest

from ppo.cli import main as cli
from ppo.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PASSIVES = "asked|found|given|held out|kept|known|left|meant|measured|read|said|shown|told|trained|written"
IDIOMS = {  # pattern -> the plain way to write it
    r"(?<!there )\b(is|are|was|were) no\b(?! longer| more)": 'write "is not a …" or "has no …"',
    r"\bthere (is|are) no \w+ (that|which|who)\b": 'write "no … does …"',
    r"\b(is|are|was|were) to (be|come|find|give|have|learn|reach|return|say|show|take|write)\b": 'write "must …"',
    r"\bto be others than\b": 'write "override"',
    r"\bleaves? nothing to chance\b": 'write "deterministic"',
    r"\bthe like\b": 'write "similar …", or name the things',
    r"\bof such\b(?! an?\b)": "repeat the noun",
    r"\bso many\b(?! \w+ that\b)": "write the number",
    r"\b(came|comes) to\b": 'write "reached", "is" or "consists of"',
    r"\bdock(s|ed)?\b": 'write "subtract(ed)" or "KL penalty"',
    r"\bper cent\b": 'write "%", with its subject',
    r"\bbeside\b": 'write "next to", "together with", "against" or "besides"',
    rf"\bwhat (is|are|was|were) ({PASSIVES})\b": "write the noun: the tokens, the text, the mask, …",
    r"\bwhere there (is|are) (one|some|any|two|several)\b": 'write "if any", "if it has one"',
    r"\bone's own\b": 'write "your own"',
}


def idioms(text: str) -> list[str]:
    """Return a sentence for each idiom in a text; code in backticks does not count."""
    plain = re.sub(r"```.*?```|`[^`]*`", "…", text, flags=re.DOTALL)
    plain = re.sub(r"[\s│╭╮╰╯─]+", " ", plain)  # lines and rich's frames
    matches = ((match, advice) for idiom, advice in IDIOMS.items() for match in re.finditer(idiom, plain, re.I))
    return [f'"{plain[max(0, m.start() - 40) : m.end() + 20].strip()}": {advice}' for m, advice in matches]


def strings(source: str) -> str:
    """Return the string constants of a Python file, docstrings among them, one to a paragraph; … for a value."""
    nodes = list(ast.walk(ast.parse(source)))
    formatted = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    texts = [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts) for parts in formatted
    ]
    inside = {id(part) for parts in formatted for part in parts}
    plain = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in inside]
    return " ¶ ".join(texts + [node.value for node in plain if isinstance(node.value, str)])


def files(*patterns: str) -> list[str]:
    """Return the paths of the files that match, relative to the repository."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern))


def check(text: str) -> None:
    """Fail with every idiom that a text has."""
    sentences = idioms(text)
    assert not sentences, "\n".join(sentences)


@pytest.mark.parametrize("file", files("*.md", "docs/*.md", "benchmarks/results/*.md", "examples/*.md"))
def test_pages_are_in_plain_english(file):
    text, *_ = (ROOT / file).read_text(encoding="utf-8").split("## Samples")  # a policy writes those
    check(text)


@pytest.mark.parametrize("file", files("ppo/**/*.py", "benchmarks/*.py", "examples/*.py"))
def test_errors_and_docstrings_are_in_plain_english(file):
    check(strings((ROOT / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_in_plain_english(command, capsys):
    with pytest.raises(SystemExit):
        cli.parse([*command.split(), "--help"])
    text = capsys.readouterr().out.replace("|", " ")  # the frame, where it is ASCII
    assert "usage" in text
    check(text)


@pytest.mark.parametrize(
    "sentence",
    [
        "Residual is no subclass of ppo.Policy",
        "rows that are no decision",
        "There is no figure that counts twice.",
        "what is registered is to return one",
        "It is to be reached.",
        "arguments that are to be others than in the run",
        "Leave nothing to chance.",
        "a function, a module and the like",
        "a list of such, in order",
        "adapted to so many nats",
        "Hopper came to 2,109.",
        "the operations it comes to",
        "docked from its reward",
        "in 46 per cent of cases",
        "ours beside the peer's",
        "an action beside those that are kept",
        "It drops what is shown.",
        "what was held out",
        "the seed, where there is one",
        "a file of one's own",
    ],
)
def test_an_idiom_is_caught(sentence):
    assert len(idioms(sentence)) >= 1
    assert len(idioms(f"│ {sentence.replace(' ', chr(10))} │")) >= 1  # over the lines of a box


def test_every_idiom_has_a_sentence_that_only_it_catches():
    caught = {advice for sentence in test_an_idiom_is_caught.pytestmark[0].args[1] for advice in idioms(sentence)}
    assert {text.split('": ', 1)[1] for text in caught} == set(IDIOMS.values())


@pytest.mark.parametrize(
    "sentence",
    [
        "It is not a subclass, is no longer needed, and there is no error.",
        "The policy must return one; besides, it must be fast.",
        "`what is shown` in code is no matter of prose",
        "The value of such a function; so many samples that the mean is exact.",
        "Docker; a comet; what is more; where there is a mask.",
    ],
)
def test_plain_english_is_not_caught(sentence):
    assert idioms(sentence.replace("is no matter", "does not matter")) == []


def test_errors_are_read_with_a_mark_for_their_values():
    source = 'raise UsageError(f"{name} is no {kind}" " of ours")\n"""A docstring."""'
    assert idioms(strings(source)) == ['"… is no … of ours ¶ A docst": write "is not a …" or "has no …"']
