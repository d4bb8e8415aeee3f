"""Smoke test of an installed ppo: run `python smoke.py` in an empty folder, without the checkout.

It imports nothing of the checkout: what it finds must have come with the wheel. `make release` and CI run it.
"""

import importlib.util
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

RUN = "runs/CartPole-v1__ppo__s1"
SMALL = "--num-envs 8 --num-steps 32 --num-minibatches 4 --total-timesteps 512 --eval-episodes 2 --compile off"
ABSENT = importlib.util.find_spec("scipy") is None or importlib.util.find_spec("matplotlib") is None
COMMANDS = [  # arguments of ppo; a text that it prints
    ("--version", f"ppo {distribution('ppo').version}"),
    ("envs", "preset ppo + CartPole: "),
    ("train CartPole-v1 --total-timesteps 4096", "ppo + CartPole"),  # the preset
    (f"resume {RUN} --total-timesteps 6144", "total_timesteps 6144 instead of 4096"),
    (f"eval {RUN} --episodes 2", "return"),
    (f"export {RUN} --out policy.pt2", "acts  as the run's policy"),
    (f"report {RUN}", "CartPole-v1"),
    (f"train text/Reverse-v0 {SMALL}", "ppo + text/Reverse"),
    ("sample runs/text_Reverse-v0__ppo__s1 -n 2", "mean return"),
]
COMPARE = [
    ("compare --list --env-id HalfCheetah-v5", "HalfCheetah-v"),
    (f"compare {RUN}", "page  runs/compare/"),
]


def ppo(words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed ppo."""
    return subprocess.run([sys.executable, "-m", "ppo", *words.split()], capture_output=True, text=True)


def check(holds: bool, claim: str) -> None:
    """Print a claim; end with exit code 1 if it does not hold."""
    print("ok  " if holds else "FAIL", claim, flush=True)
    if not holds:
        sys.exit(1)


def check_command(words: str, expected: str) -> None:
    """Check that a command succeeds and prints a text."""
    done = ppo(words)
    if done.returncode or expected not in done.stdout:
        print(done.stdout, done.stderr, f"exit code {done.returncode}, expected {expected!r}", sep="\n")
    check(done.returncode == 0 and expected in done.stdout, f"ppo {words}")


def main() -> None:
    """Check the package's files, then its commands, then the exported file without ppo."""
    import ppo as package

    home = Path(str(package.__file__)).parent
    check(not (home.parent / "setup.cfg").exists(), f"ppo {package.__version__} is installed, not the checkout")
    check(package.__version__ == distribution("ppo").version, "the version is the distribution's")
    (script,) = (point for point in distribution("ppo").entry_points if point.name == "ppo")
    check(callable(script.load()), f"the console script ppo is {script.value}")
    check((home / "py.typed").is_file(), "the package is typed")
    for words, expected in COMMANDS:
        check_command(words, expected)
    if ABSENT:
        check("pip install scipy matplotlib" in ppo(f"compare {RUN}").stderr, "ppo compare names its missing extra")
    else:
        for words, expected in COMPARE:
            check_command(words, expected)
    check_export()


def check_export() -> None:
    """Check that the exported file is a function of N observations, with torch alone."""
    code = "import sys, torch; sys.modules['ppo'] = None; f = torch.export.load('policy.pt2').module(); print(f(torch.zeros(3, 4)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    check("tensor([" in done.stdout, "the exported policy acts without ppo")


if __name__ == "__main__":
    main()
