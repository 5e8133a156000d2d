"""Every file against the network that it was made from."""
