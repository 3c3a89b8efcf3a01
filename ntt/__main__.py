"""`python -m ntt` is the `ntt` command."""

from ntt.cli import main

main()
