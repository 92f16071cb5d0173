"""`python -m cognate` is the command line."""

from cognate.cli import main

main()
