"""`python -m benchmarks`: see compare.py."""

from benchmarks.compare import main

main()
