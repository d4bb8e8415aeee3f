"""Data of another package: found if it is installed, and otherwise the command that installs it."""

import pytest

from ppo import UsageError
from ppo.text.package_data import package_file


def test_a_file_of_an_installed_package_is_found():
    assert package_file("numpy", "numpy/py.typed", "text/X-v0", "pip install numpy").name == "py.typed"


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("no-such-package", r"^text/X-v0 needs the data of the package no-such-package; pip install it$"),
        ("numpy", r"^numpy \S+ has no file data/words, which text/X-v0 needs; pip install it$"),
    ],
)
def test_what_is_missing_is_named_with_the_command(package, sentence):
    with pytest.raises(UsageError, match=sentence):
        package_file(package, "data/words", "text/X-v0", "pip install it")
