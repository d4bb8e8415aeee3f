"""The text tasks that come with the package, one file each."""
