"""A self-contained HTML page about bundles and results: nothing in it is fetched, or runs."""
