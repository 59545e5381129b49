"""Entry of the bundle's `tyger`: PyInstaller takes scripts, and puts a script's directory on the path."""

import sys

from tyger import __main__

sys.exit(__main__.main())
