"""Entry of the bundle's `tyger-proxy`: PyInstaller takes scripts, and has their directory on the path."""

from tyger_proxy import __main__

__main__.main()
