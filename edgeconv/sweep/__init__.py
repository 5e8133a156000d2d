"""Sweeps: which of many networks, precisions and boards answers a question best."""
