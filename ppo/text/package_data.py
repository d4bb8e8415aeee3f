"""Data that another package carries: a file of an installed distribution, found without importing that package."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ppo.errors import UsageError


def package_file(package: str, path: str, env_id: str, install: str) -> Path:
    """Return a file of an installed package.

    Args:
        package: its name in the package index.
        path: of the file, below the folder of installed packages.
        env_id: the environment that needs it, for the error's sentence.
        install: the command that installs the package.

    Raises:
        UsageError: the package is not installed, or this version of it lacks the file.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise UsageError(f"{env_id} needs the data of the package {package}; {install}") from error
    file = Path(str(found.locate_file(path)))
    if not file.is_file():
        raise UsageError(f"{package} {found.version} has no file {path}, which {env_id} needs; {install}")
    return file
