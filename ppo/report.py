"""A report for an issue: versions, machine, and a run's settings and last rows, without paths and names of people."""

import contextlib
import csv
import getpass
import json
import platform
import re
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

from ppo.config import Config
from ppo.config.memory import memory
from ppo.config.presets import preset, preset_name
from ppo.errors import UsageError
from ppo.machine.imports import only_trusted
from ppo.machine.process import compiler, cores
from ppo.numbers import number
from ppo.run.checkpoint import checkpoint_path, read_checkpoint

HIDDEN = "…"  # stands for what the report leaves out
# The rest of a text from where a path begins at the root or the home folder; paths may hold spaces.
ABSOLUTE = re.compile(r"(?<![\w.…])(~|[A-Za-z]:[/\\]|[/\\]).*", re.DOTALL)
ROWS = 5  # of progress.csv
COLUMNS = (
    "iteration", "global_step", "charts/episodic_return", "eval/episodic_return", "charts/SPS", "losses/approx_kl",
    "losses/entropy", "losses/explained_variance", "losses/grad_norm", "pretrain/loss", "reward/loss", "eval/perplexity",
    "eval/loss",
)  # fmt: skip


def report(run: Path | None = None) -> str:
    """Return a report in Markdown, to paste into an issue.

    Args:
        run: the run's folder; None: report only versions and the machine.

    Raises:
        UsageError: the folder is not a run.
    """
    sections = [("Versions", list(_versions())), ("Machine", list(_machine()))]
    rows: list[str] = []
    if run is not None:
        config = _read_config(run)
        sections.append(("Run", list(_run(run, config))))
        rows = _rows(run)
    parts = [f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in sections]
    return "\n\n".join([*parts, *(["\n".join(rows)] if rows else [])])


def hide(value: Any, relative: bool = False) -> Any:
    """Return a JSON value without absolute paths, this user's name and this machine's name.

    Args:
        value: a text, a number, a list or a table.
        relative: leave out whatever has a slash, relative paths and addresses too.
    """
    if isinstance(value, dict):
        return {hide(key, relative): hide(item, relative) for key, item in value.items()}
    if isinstance(value, list):
        return [hide(item, relative) for item in value]
    if not isinstance(value, str):
        return value
    if relative and set(value) & set("/\\~"):
        return HIDDEN
    for name in _names():
        value = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", HIDDEN, value)
    return ABSOLUTE.sub(HIDDEN, value)


def _names() -> Iterator[str]:
    """Yield the names of this user, the home folder and this machine."""
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        yield getpass.getuser()
    host = socket.gethostname()
    yield from {name for name in (Path.home().name, host, host.partition(".")[0]) if name}


def _versions() -> Iterator[str]:
    """Yield the versions of Python, of the packages that ppo needs, and of those in its extras that are installed."""
    python = f"Python {platform.python_version()}"
    try:
        version, extras = metadata.version("ppo"), metadata.metadata("ppo").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        yield f"ppo is imported from a folder and not installed; {python}, torch {metadata.version('torch')}"
        return
    yield f"ppo {version}, {python}"
    yield _found(needs("ppo"))
    complete = {extra: needs("ppo", extra) for extra in extras if all(map(is_complete, needs("ppo", extra)))}
    yield f"extras: {', '.join(complete) or 'none'}"
    yield from (f"{extra}: {_found(complete[extra])}" for extra in complete if extra != "dev")


def needs(package: str, extra: str = "") -> list[Requirement]:
    """Return what an installed package requires, or what one of its extras adds to that.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    found = [(need, need.marker) for need in map(Requirement, metadata.requires(package) or [])]
    if not extra:
        return [need for need, marker in found if marker is None or marker.evaluate({"extra": ""})]
    return [need for need, marker in found if marker and marker.evaluate({"extra": extra}) and "extra" in str(marker)]


def is_complete(need: Requirement) -> bool:
    """Return whether a package is installed, with all that the extras in the requirement add."""
    try:
        metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return False
    return all(is_complete(inner) for extra in need.extras for inner in needs(need.name, extra))


def _found(requirements: list[Requirement]) -> str:
    """Return the names and versions of packages that are installed, and of those that their extras add."""
    inner = [more for need in requirements for extra in need.extras for more in needs(need.name, extra)]
    names = sorted({need.name for need in requirements + inner if is_complete(Requirement(need.name))}, key=str.lower)
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _machine() -> Iterator[str]:
    """Yield the operating system, processor, memory, GPU, threads and C++ compiler."""
    libc = " ".join(platform.libc_ver()).strip()
    release = re.match(r"[\d.]*\d", platform.release())  # without a suffix of whoever built the kernel
    yield f"{platform.system()} {release[0] if release else ''}, {platform.machine()}, {libc or 'unknown C library'}"
    yield f"{_processor()}, {cores()} cores, {memory() / 1e9:.0f} GB of memory"
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    yield f"GPU: {', '.join(gpus) or 'none'}; CUDA of torch: {torch.version.cuda or 'none'}"
    yield f"torch threads: {torch.get_num_threads()}; C++ compiler: {'yes' if compiler() else 'none'}"


def _processor() -> str:
    try:
        models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        models = []
    return models[0] if models else platform.processor() or "unknown processor"


def _read_config(run: Path) -> dict[str, Any]:
    """Return the settings in a run's config.json, whatever version wrote them.

    Raises:
        UsageError: there is no such file, or it holds no settings.
    """
    if not (run / "config.json").is_file():
        raise UsageError(f"{run} is not a run folder (it has no config.json); give a folder that `ppo train` made")
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {run / 'config.json'}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{run / 'config.json'} is not JSON; restore it or report without the run") from error
    if not isinstance(config, dict) or not isinstance(config.get("env_id"), str):
        raise UsageError(f"{run / 'config.json'} names no environment; restore it or report without the run")
    return config


def _run(run: Path, config: dict[str, Any]) -> Iterator[str]:
    """Yield the environment, the state of the newest checkpoint, and the settings that differ from the preset's."""
    try:
        meta = read_checkpoint(checkpoint_path(run, "latest"))[1]
        steps = f"{meta['global_step']:,} steps, iteration {meta['iteration']:,}"
        state = f"made by {meta['made_by']}, {'finished' if meta['finished'] else 'not finished'}: {steps}"
        signed = meta["signed"]
    except UsageError as error:
        state, signed = f"no checkpoint: {hide(str(error).removeprefix(str(run)).lstrip(' /'))}", False
    yield f"environment: {_code(hide(config['env_id']))}"
    yield state
    try:
        with only_trusted(run, signed):
            algorithm = config.get("algorithm", "ppo")
            base = preset(config["env_id"], algorithm, config.get("policy", "auto"))
            origin = f"preset {preset_name(config['env_id'], algorithm)}"
    except (UsageError, KeyError, TypeError):  # not installed here, or of another version
        base, origin = Config(), "defaults (there is no preset for it here)"
    defaults = base.to_json()
    yield f"settings that differ from the {origin}:"
    for key, value in config.items():
        if defaults.get(key) != value:
            relative = key not in ("env_id", "policy")  # which name modules; anything else with a slash is a path
            yield _code(f"{hide(key)} = {json.dumps(hide(value, relative), ensure_ascii=False)}")


def _code(text: str) -> str:
    """Return a text as code in Markdown, on one line."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _rows(run: Path) -> list[str]:
    """Return the last rows of progress.csv as lines of a Markdown table, without columns that are empty in all of them."""
    if not (run / "progress.csv").is_file():
        return ["progress.csv: none"]
    try:
        with (run / "progress.csv").open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))[-ROWS:]
    except OSError:
        return ["progress.csv: none"]
    except csv.Error:
        return ["progress.csv: damaged"]
    names = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    if not names:
        return ["progress.csv: no rows"]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [names, ["---:"] * len(names), *cells]]


def _cell(text: str | None) -> str:
    try:
        return number(float(text)) if text else ""
    except ValueError:
        return "damaged"
