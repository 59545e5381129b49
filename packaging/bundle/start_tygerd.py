"""Entry of the bundle's `tygerd`: PyInstaller takes scripts, and puts a script's directory on the path."""

import sys

from tygerd import __main__

sys.exit(__main__.main())
