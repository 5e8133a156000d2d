"""Checks each file of an export against the network that it was made from."""
