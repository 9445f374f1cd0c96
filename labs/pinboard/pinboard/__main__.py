"""`python3 -m pinboard`."""

import signal
import sys

# Process 1 of a container ignores a signal without a handler, and what follows takes a while on a slow machine.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

from pinboard.start import main  # noqa: E402

sys.exit(main())
