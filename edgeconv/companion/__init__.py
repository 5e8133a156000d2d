"""The files of a bundle that let its files be run without edgeconv: ``run.py`` and ``README.md``."""
