"""`tyger-proxy`: holds one login, and lets clients of a network do a few operations without one.

A package of its own because it is neither: its command line is one of `tyger`'s, its server is `tygerd.http`.
Nothing imports it.
"""
