"""Points: the values of expressions, and files of points."""

import numpy as np
import pytest

from ppo import UsageError
from ppo.text.tasks.points import draw, evaluate, read


def test_the_first_operand_of_a_quotient_is_above_the_line():
    columns = {"x": np.array([6.0]), "y": np.array([2.0])}
    assert evaluate(["/", "x", "y"], columns) == [3.0]
    assert evaluate(["-", "/", "x", "y", "sin", "x"], columns) == pytest.approx(3 - np.sin(6))


def test_a_file_as_programs_write_it_is_read_whole(tmp_path):
    file = tmp_path / "points.csv"
    file.write_bytes('\ufeff"mass", speed ,energy\r\n1,2,4\r\n\r\n"3",5,75\r\n2,7,98\r\n'.encode())
    points, same = read(str(file))
    assert points is same
    assert {name: column.tolist() for name, column in points.columns.items()} == {"mass": [1, 3, 2], "speed": [2, 5, 7]}
    assert points.values.tolist() == [4, 75, 98]
    assert points.error(["*", "mass", "*", "speed", "speed"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,4\n5,6\n", "begins with the line '1,2'; give a name"),  # its first point would be lost
        ("x\n1\n2\n", "begins with the line 'x'; give a name"),
        ("x,x,y\n1,2,3\n2,3,4\n", "different from one another"),
        ("sin,y\n1,2\n2,3\n", "and from the operators"),
        ("my x,y\n1,2\n2,3\n", "a name without spaces"),
        ("x,y\n1,2\n3,z\n", "point 2 of .* is '3,z'; give 2 finite numbers"),
        ("x,y\n# 1,2\n3,4\n", "point 1 of .* is '# 1,2'"),  # no comments in CSV
        ("x,y\n1,2,3\n", "point 1 of .* is '1,2,3'"),
        ("x,y\n1,nan\n", "point 1 of .* is '1,nan'"),
        ("x,y\n1,3_0\n", "point 1 of .* is '1,3_0'"),
        ("x,y\n1,2\n3,2\n", "all have the same value"),
        ("x,y\n", "fewer than two"),
        (
            "x,y\n" + "".join(f"{n},0.1\n" for n in range(20)),
            "all have the same value",
        ),  # whose deviation is only rounding
        ("x,y\n1,2e300\n2,-1e300\n", "too large or too close for float64; give them in another unit"),
        ("x,y\n1,1e-200\n2,2e-200\n", "too large or too close"),
        (f"x,y\n1,{'1' * 140_000}\n", "cannot read points from .*: .*field larger than field limit"),
        ("", "has no text"),
    ],
)
def test_bad_points_are_refused(tmp_path, text, message):
    file = tmp_path / "points.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read(str(file))


def test_a_formula_that_is_not_in_the_benchmark_is_refused():
    with pytest.raises(UsageError, match="nguyen = 13 is not a formula of the benchmark; choose 1 to 12"):
        draw(13)
