"""One module a revision of the catalog, each frozen once released. `migrate.py` lists them in order."""
