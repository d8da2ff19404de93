"""`python -m unregress` is the command `unregress`."""

import sys

from unregress.cli import main

sys.exit(main())
