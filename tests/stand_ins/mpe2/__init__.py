"""A package in the place of mpe2."""
