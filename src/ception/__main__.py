"""`python -m ception` is the command `ception`."""

import sys

from ception.cli import main

sys.exit(main())
