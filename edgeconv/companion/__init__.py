"""The files of a bundle that let it be run without edgeconv: ``run.py`` and ``README.md``."""
