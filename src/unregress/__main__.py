"""`python -m unregress` is the command `unregress`."""

import os
import sys

from unregress.cli import program

code = program()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # One of several processes: all is written, and threads of PyTorch's that outlive the job must not turn a success
    # into "terminate called without an active exception", as now and then they do.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
