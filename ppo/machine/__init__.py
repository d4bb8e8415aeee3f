"""The machine: threads, devices, signals, compiled code."""
