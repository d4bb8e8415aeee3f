"""python -m ppo, the same as the console script."""

from ppo.cli.main import main

main()
