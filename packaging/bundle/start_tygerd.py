"""Entry of the bundle's `tygerd`: PyInstaller takes scripts, and puts a script's directory on the path."""

from tygerd import __main__

__main__.program()
